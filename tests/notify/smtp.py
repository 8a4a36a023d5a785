"""A mail server on loopback that prints what it accepts, one JSON object per line; the first line is `ready`."""
import argparse
import asyncio
import email
import email.header
import email.policy
import json
import ssl

from aiosmtpd.smtp import SMTP, AuthResult

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--cert")
parser.add_argument("--key")
parser.add_argument("--mode", choices=["plain", "starttls", "tls"], default="plain")
parser.add_argument("--user")
parser.add_argument("--password")
parser.add_argument("--refuse", action="append", default=[])
parser.add_argument("--fail", type=int, default=0)
arguments = parser.parse_args()


def say(what):
    print(json.dumps(what), flush=True)


class Handler:
    def __init__(self):
        self.fail = arguments.fail

    async def handle_MAIL(self, server, session, envelope, address, options):
        say({"event": "mail", "tls": session.ssl is not None})
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in arguments.refuse:
            say({"event": "refused", "to": address})
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.fail > 0:
            self.fail -= 1
            say({"event": "later"})
            return "451 try again later"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        say({
            "event": "accepted",
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "login": session.authenticated,
            "subject": str(message["subject"]),
            "id": str(message["message-id"]),
            "automatic": str(message["auto-submitted"]),
            "type": message.get_content_type(),
            "text": message.get_content().replace("\r\n", "\n"),
            "raw": envelope.content.decode("utf-8", "replace"),
        })
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login.decode(), data.password.decode()) == (arguments.user, arguments.password)
    return AuthResult(success=good, handled=good)


async def main():
    context = None
    if arguments.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.cert, arguments.key)
    handler = Handler()
    wants_login = arguments.user is not None

    def session():
        return SMTP(
            handler,
            hostname="mail.test",
            tls_context=context if arguments.mode == "starttls" else None,
            require_starttls=arguments.mode == "starttls",
            authenticator=authenticate if wants_login else None,
            auth_required=wants_login,
            auth_require_tls=arguments.mode == "starttls",
        )

    wrapped = context if arguments.mode == "tls" else None
    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", arguments.port, ssl=wrapped)
    say("ready")
    await server.serve_forever()


asyncio.run(main())
