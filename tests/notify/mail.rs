//! Mail.
use std::collections::BTreeSet;
use std::path::PathBuf;

use pgveil::config::{
    Language, NotifySettings, Secret, SmtpLogin, SmtpSettings, SmtpTls, WebhookSettings,
};
use serde_json::Value;

use crate::mail_server::{MailServer, python};
use crate::office::{Office, addresses, read, settings, until};
use crate::support::{Certificates, free_port, skip};
use crate::web_server::WebServer;

fn smtp(port: u16) -> SmtpSettings {
    SmtpSettings {
        host: "127.0.0.1".to_owned(),
        port,
        tls: SmtpTls::None,
        login: None,
        from: "pgveil <pgveil@example.com>".to_owned(),
        to: addresses(&[
            ("legal", &["leo@example.com", "王伟 <wei@example.com>"]),
            ("dpo", &["dora@example.com"]),
            ("board", &["eve@example.com"]),
        ]),
        ca: None,
    }
}

fn by_mail(smtp: SmtpSettings, language: Language) -> NotifySettings {
    settings(None, Some(smtp), language)
}

/// The mail server, or a skip in plain sight.
fn needs(test: &str) -> Option<PathBuf> {
    let python = python();
    if python.is_none() {
        skip(test, "no target/notify/bin/python with aiosmtpd");
    }
    python
}

fn recipients(accepted: &[Value]) -> Vec<&str> {
    let to = accepted.iter().filter_map(|mail| mail["to"][0].as_str());
    let mut to: Vec<&str> = to.collect();
    to.sort_unstable();
    to
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_reaches_those_who_have_to_sign_over_starttls_with_a_login() {
    let Some(python) = needs("mail_reaches_those_who_have_to_sign_over_starttls_with_a_login")
    else {
        return;
    };
    let certificates = Certificates::new();
    let (cert, key) = (certificates.cert_file(), certificates.key_file());
    let port = free_port();
    let server = MailServer::start(
        &python,
        port,
        &[
            "--mode",
            "starttls",
            "--cert",
            &cert.to_string_lossy(),
            "--key",
            &key.to_string_lossy(),
            "--user",
            "pgveil",
            "--password",
            "pässword",
        ],
    );
    let office = Office::open().await;
    let tls = SmtpSettings {
        tls: SmtpTls::StartTls,
        ca: Some(certificates.ca_file()),
        login: Some(SmtpLogin {
            user: "pgveil".to_owned(),
            password: Secret::new("pässword".to_owned()),
        }),
        ..smtp(port)
    };
    let notifier = office.notify(&by_mail(tls, Language::Chinese));
    let id = office.ask("d1").await.id;
    office.all_told().await;
    let first = server.events_once(3, "accepted");
    assert_eq!(
        recipients(&first),
        ["dora@example.com", "leo@example.com", "wei@example.com"]
    );
    office.sign(&id, "leo", "legal").await;
    office.all_told().await;
    let second = server
        .events_once(first.len() + 1, "accepted")
        .split_off(first.len());
    assert_eq!(
        recipients(&second),
        ["dora@example.com"],
        "who has yet to sign"
    );
    let mail = &second[0];
    assert_eq!(
        mail["subject"],
        format!("[pgveil] ann 的导出申请 {id}：leo 代表 legal 批准，等待 dpo 审批")
    );
    assert_eq!(mail["id"], format!("<{id}-1@example.com>"));
    assert_eq!((&mail["tls"], &mail["login"]), (&true.into(), &true.into()));
    assert_eq!(mail["automatic"], "auto-generated");
    assert_eq!(mail["type"], "text/plain");
    let text = mail["text"].as_str().unwrap();
    for part in [
        "理由：审计 2026",
        "已签：legal: leo",
        "SELECT * FROM crm.customers WHERE city = $1",
        &format!("https://pgveil.example.com/requests/{id}"),
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert_eq!(read(&notifier.counters.mail.sent), 2);
    assert_eq!(read(&notifier.counters.mail.failed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_over_tls_from_the_start() {
    let Some(python) = needs("mail_over_tls_from_the_start") else {
        return;
    };
    let certificates = Certificates::new();
    let (cert, key) = (certificates.cert_file(), certificates.key_file());
    let port = free_port();
    let (cert, key) = (cert.to_string_lossy(), key.to_string_lossy());
    let arguments = ["--mode", "tls", "--cert", &cert, "--key", &key];
    let server = MailServer::start(&python, port, &arguments);
    let office = Office::open().await;
    let tls = SmtpSettings {
        tls: SmtpTls::Tls,
        ca: Some(certificates.ca_file()),
        ..smtp(port)
    };
    let _notifier = office.notify(&by_mail(tls, Language::English));
    office.ask("d1").await;
    office.all_told().await;
    assert_eq!(server.events_once(3, "accepted").len(), 3);
}

/// A server without TLS, one with a certificate of somebody else, one that wants another password: not a word about any
/// request reaches them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_to_a_server_that_is_not_the_one() {
    let Some(python) = needs("nothing_is_said_to_a_server_that_is_not_the_one") else {
        return;
    };
    let certificates = Certificates::new();
    let (cert, key) = (certificates.cert_file(), certificates.key_file());
    let (cert, key) = (cert.to_string_lossy(), key.to_string_lossy());
    let others = Certificates::new();
    let login = Some(SmtpLogin {
        user: "pgveil".to_owned(),
        password: Secret::new("wrong".to_owned()),
    });
    let starttls: Vec<&str> = vec!["--mode", "starttls", "--cert", &cert, "--key", &key];
    let wants_login = [
        starttls.clone(),
        vec!["--user", "pgveil", "--password", "right"],
    ]
    .concat();
    let cases = [
        (vec!["--mode", "plain"], certificates.ca_file(), None),
        (starttls, others.ca_file(), None),
        (wants_login, certificates.ca_file(), login),
    ];
    for (arguments, ca, login) in cases {
        let port = free_port();
        let server = MailServer::start(&python, port, &arguments);
        let office = Office::open().await;
        let tls = SmtpSettings {
            tls: SmtpTls::StartTls,
            ca: Some(ca),
            login,
            ..smtp(port)
        };
        let notifier = office.notify(&by_mail(tls, Language::English));
        office.ask("d1").await;
        until("it has tried a few times", || async {
            read(&notifier.counters.mail.failed) >= 3
        })
        .await;
        assert!(server.events("mail").is_empty(), "{arguments:?}");
        assert_eq!(read(&notifier.counters.mail.sent), 0);
        assert_eq!(
            office.desk.untold(10).await.unwrap().len(),
            1,
            "not given up"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_it_later_gets_it_later() {
    let Some(python) = needs("a_server_that_wants_it_later_gets_it_later") else {
        return;
    };
    let port = free_port();
    let server = MailServer::start(&python, port, &["--fail", "4"]);
    let office = Office::open().await;
    let notifier = office.notify(&by_mail(smtp(port), Language::English));
    office.ask("d1").await;
    office.all_told().await;
    assert_eq!(server.events_once(4, "later").len(), 4);
    let accepted = server.events_once(3, "accepted");
    assert_eq!(
        recipients(&accepted),
        ["dora@example.com", "leo@example.com", "wei@example.com"],
        "everybody once"
    );
    assert_eq!(read(&notifier.counters.mail.failed), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_does_not_exist_keeps_nobody_from_their_mail() {
    let Some(python) = needs("an_address_that_does_not_exist_keeps_nobody_from_their_mail") else {
        return;
    };
    let port = free_port();
    let server = MailServer::start(&python, port, &["--refuse", "leo@example.com"]);
    let office = Office::open().await;
    let _notifier = office.notify(&by_mail(smtp(port), Language::English));
    office.ask("d1").await;
    office.all_told().await;
    let accepted = server.events_once(2, "accepted");
    assert_eq!(
        recipients(&accepted),
        ["dora@example.com", "wei@example.com"]
    );
    assert_eq!(server.events_once(1, "refused").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_is_away_keeps_nothing_from_the_webhook() {
    let Some(python) = needs("a_mail_server_that_is_away_keeps_nothing_from_the_webhook") else {
        return;
    };
    let web = WebServer::start(&[]).await;
    let port = free_port();
    let office = Office::open().await;
    let webhook = WebhookSettings {
        url: Secret::new(format!("http://127.0.0.1:{}/", web.port)),
        secret: Secret::new("0123456789abcdef".to_owned()),
        ca: None,
    };
    let both = settings(Some(webhook), Some(smtp(port)), Language::English);
    let notifier = office.notify(&both);
    for number in 0..5 {
        office.ask(&format!("d{number}")).await;
    }
    until("the webhook has all", || async {
        web.accepted().len() == 5
    })
    .await;
    until("mail was tried", || async {
        read(&notifier.counters.mail.failed) > 2
    })
    .await;
    assert_eq!(office.desk.untold(10).await.unwrap().len(), 5);
    let server = MailServer::start(&python, port, &[]);
    office.all_told().await;
    let accepted = server.events_once(15, "accepted");
    assert_eq!(accepted.len(), 15);
    let ids: BTreeSet<&str> = accepted
        .iter()
        .filter_map(|mail| mail["id"].as_str())
        .collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(web.received().len(), 5, "the webhook is not told again");
}
