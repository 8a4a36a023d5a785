//! Approvers of a real pgveil: their accounts, and what they do over the API, on the command line and in a browser.
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::pgveil::command;
use crate::support::{Config, Folder, PATIENCE, fed, free_port};

const PASSWORD: &str = "correct horse battery";

/// The console of a pgveil, and the tokens of those who have an account.
pub struct Approvers {
    port: u16,
    tokens: BTreeMap<String, String>,
}

/// A browser that is signed in.
pub struct Browser {
    port: u16,
    cookie: String,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// A cookie as a browser sends it back.
    fn cookie(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(header, _)| header.eq_ignore_ascii_case("set-cookie"))
            .filter_map(|(_, cookie)| cookie.split(';').next())
            .find(|pair| pair.split('=').next() == Some(name))
            .map(str::to_owned)
    }

    /// What the forms of a page carry.
    fn csrf(&self) -> String {
        let value = self.body.split("name=\"csrf\" value=\"").nth(1);
        let value = value.and_then(|rest| rest.split('"').next());
        value
            .unwrap_or_else(|| panic!("no form: {self:?}"))
            .to_owned()
    }
}

impl Approvers {
    /// Gives a configuration a console, and its state accounts: name, person, groups. Before pgveil runs.
    pub fn new(config: &mut Config, state: &Path, accounts: &[(&str, &str, &str)]) -> Approvers {
        let port = free_port();
        config.set("console", &format!("{{ listen: \"127.0.0.1:{port}\" }}"));
        config.set("state", &state.display().to_string());
        // Its record of making the accounts is another one than pgveil's.
        let folder = Folder::new("accounts");
        let file = config.write(&folder);
        let mut tokens = BTreeMap::new();
        for (name, person, groups) in accounts {
            let common = ["--config", file.to_str().expect("a path")];
            let person = format!("--person={person}");
            let groups = format!("--groups={groups}");
            said(
                command()
                    .args(["accounts", "add", name, &person, &groups])
                    .args(common),
                &format!("{PASSWORD}\n"),
            );
            let token = said(command().args(["accounts", "token", name]).args(common), "");
            tokens.insert((*name).to_owned(), token.trim().to_owned());
        }
        Approvers { port, tokens }
    }

    /// # Errors
    /// The console is not there, or has gone while it answered.
    pub fn try_call(
        &self,
        account: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> io::Result<Answer> {
        let token = &self.tokens[account];
        let headers =
            format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        let body = body.map(ToString::to_string).unwrap_or_default();
        http(
            self.port,
            method,
            &format!("/api/v1{path}"),
            &headers,
            &body,
        )
    }

    pub fn call(&self, account: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.try_call(account, method, path, body)
            .expect("an answer")
    }

    /// A request as an account sees it.
    pub fn show(&self, account: &str, id: &str) -> Value {
        let answer = self.call(account, "GET", &format!("/requests/{id}"), None);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Signs by the API what has so many steps.
    ///
    /// # Errors
    /// The console is not there, or has gone while it answered.
    pub fn try_approve(&self, account: &str, id: &str, seen: usize) -> io::Result<Answer> {
        let body = json!({ "seen": seen });
        self.try_call(
            account,
            "POST",
            &format!("/requests/{id}/approve"),
            Some(&body),
        )
    }

    pub fn approve(&self, account: &str, id: &str, seen: usize) -> Answer {
        self.try_approve(account, id, seen).expect("an answer")
    }

    /// Signs on the command line.
    pub fn approve_by_command(&self, account: &str, id: &str, seen: usize) -> Output {
        command()
            .args(["approvals", "approve", id, "--seen", &seen.to_string()])
            .env("PGVEIL_TOKEN", &self.tokens[account])
            .env(
                "PGVEIL_CONSOLE_URL",
                format!("http://127.0.0.1:{}", self.port),
            )
            .output()
            .expect("the command runs")
    }

    pub fn browser(&self, account: &str) -> Browser {
        let form = http(self.port, "GET", "/login", "", "").expect("a page");
        let cookie = form.cookie("pgveil_login").expect("a cookie");
        let mut browser = Browser {
            port: self.port,
            cookie,
        };
        let fields = format!(
            "csrf={}&name={account}&password={}&code=&next=%2Frequests",
            form.csrf(),
            PASSWORD.replace(' ', "+")
        );
        let answer = browser.post("/login", &fields);
        let session = answer.cookie("pgveil");
        let session = session.unwrap_or_else(|| panic!("not signed in: {answer:?}"));
        browser.cookie = format!("{}; {session}", browser.cookie);
        browser
    }
}

impl Browser {
    pub fn get(&self, path: &str) -> Answer {
        let headers = format!("Cookie: {}\r\n", self.cookie);
        http(self.port, "GET", path, &headers, "").expect("a page")
    }

    fn post(&self, path: &str, form: &str) -> Answer {
        let headers = format!(
            "Cookie: {}\r\nOrigin: http://127.0.0.1:{}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.cookie, self.port
        );
        http(self.port, "POST", path, &headers, form).expect("a page")
    }

    /// Sends the form that signs a request, whether or not its page has one.
    pub fn approve(&self, id: &str, seen: usize) -> Answer {
        let csrf = self.get("/account").csrf();
        let form = format!("csrf={csrf}&seen={seen}");
        self.post(&format!("/requests/{id}/approve"), &form)
    }
}

/// What a command says that has to succeed.
fn said(command: &mut Command, input: &str) -> String {
    let output = fed(command, input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn http(port: u16, method: &str, path: &str, headers: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "no whole answer");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse::<usize>().ok()).flatten()
    });
    if length.is_some_and(|length| body.len() < length) {
        return Err(cut());
    }
    Ok(Answer {
        status: status.ok_or_else(cut)?,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}
