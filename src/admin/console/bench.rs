//! A console without a socket, and browsers that look at it, for tests.
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::*;
use crate::admin::console::session::csrf_of;
use crate::export::desk::Met;
use crate::export::request::{Asked, Column, LimitKind};
use crate::export::store::{Sqlite, Store};

/// Every account's.
pub const PASSWORD: &str = "correct horse battery";
pub const HOST: &str = "127.0.0.1:9443";
pub const ORIGIN: &str = "http://127.0.0.1:9443";

/// A console without a socket.
pub struct Bench {
    pub app: App,
    records: Arc<Mutex<String>>,
    pub folder: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Mallory has two database users.
struct OnePerson;

impl PeopleSource for OnePerson {
    fn people(&self) -> Vec<Person> {
        vec![Person {
            person: "mallory".to_owned(),
            role: "agent".to_owned(),
            allowed: Allowed {
                per_day: Some(1000),
                ..Allowed::default()
            },
        }]
    }

    fn person(&self, name: &str) -> String {
        name.strip_suffix("_batch").unwrap_or(name).to_owned()
    }

    fn names(&self, person: &str) -> BTreeSet<String> {
        BTreeSet::from([person.to_owned(), format!("{person}_batch")])
    }
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        let to = self.headers.get(header::LOCATION);
        to.and_then(|to| to.to_str().ok()).unwrap_or_default()
    }

    /// The cookie of a name, as a browser sends it back.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let set = self.headers.get_all(header::SET_COOKIE).iter();
        set.filter_map(|cookie| cookie.to_str().ok())
            .filter_map(|cookie| cookie.split(';').next())
            .find(|pair| pair.split('=').next() == Some(name))
            .map(str::to_owned)
    }
}

/// A browser: sends the cookies it was given, and the origin of its page.
pub struct Browser<'a> {
    bench: &'a Bench,
    pub cookies: String,
    pub csrf: String,
}

impl Bench {
    pub async fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("pgveil-console-{}-{name}", std::process::id()));
        let store: Arc<dyn Store> =
            Arc::new(Sqlite::open(&folder.join("state.db")).expect("opened"));
        let records = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&records);
        let record: RecordFn = Arc::new(move |record: &Record| {
            let line = serde_json::to_string(record).map_err(|error| error.to_string())?;
            kept.lock().expect("records").push_str(&line);
            Ok(())
        });
        let desk = Desk::new(store, Arc::clone(&record), "v1").await;
        let settings = ConsoleSettings {
            listen: HOST.parse().expect("an address"),
            tls: None,
            url: None,
            idle_timeout: Duration::from_secs(900),
            session_lifetime: Duration::from_secs(3600),
            oidc: None,
        };
        let parts = Parts {
            desk: Arc::new(desk.expect("a desk")),
            record,
            recent: Arc::default(),
            people: Arc::new(OnePerson),
        };
        let app = Console::new(&settings, settings.listen, parts).expect("a console");
        Bench {
            app: Arc::new(app),
            records,
            folder,
        }
    }

    /// All records so far.
    pub fn record(&self) -> String {
        self.records.lock().expect("records").clone()
    }

    pub async fn account(&self, name: &str, groups: &[&str]) {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let added = self.app.accounts.add(name, name, &groups, PASSWORD).await;
        added.expect("added");
    }

    pub async fn token(&self, name: &str) -> String {
        let issued = self.app.accounts.issue(name, "test", 1).await;
        issued.expect("issued").token
    }

    /// A statement goes beyond a limit; the request for it.
    pub async fn ask(&self, person: &str, text: &str) -> String {
        let asked = Asked {
            person: person.to_owned(),
            db_user: person.to_owned(),
            role: "agent".to_owned(),
            database: "crm".to_owned(),
            kind: "SELECT".to_owned(),
            fingerprint: "00112233aabbccdd".to_owned(),
            digest: "5ec4e7".to_owned(),
            text: text.to_owned(),
            reads: vec!["crm.contacts".to_owned()],
            columns: vec![Column {
                name: "crm.contacts.phone".to_owned(),
                class: "phone".to_owned(),
                level: Some(3),
                masked: true,
            }],
            limit: LimitKind::Rows,
            allowed: 100,
            policy_version: "v1".to_owned(),
            purpose: None,
            masked_outside: 0,
            groups: vec!["legal".to_owned(), "dpo".to_owned()],
            may_unmask: vec!["phone".to_owned()],
            max_rows: 5000,
            uses: 1,
            holds: 3600,
        };
        match self.app.desk.exceeded(&asked, Some("an audit")).await {
            Ok(Met::Waiting(request, _)) => request.id,
            other => panic!("{other:?}"),
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let service = TowerToHyperService::new(router(Arc::clone(&self.app)));
        let Ok(response) = service.call(request).await;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub async fn api(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method.to_uppercase().as_str())
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        let answer = self.send(request.body(Body::from(body)).expect("a request"));
        let answer = answer.await;
        let value = serde_json::from_str(&answer.text).unwrap_or(Value::String(answer.text));
        (answer.status, value)
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser {
            bench: self,
            cookies: String::new(),
            csrf: String::new(),
        }
    }

    pub async fn signed_in(&self, name: &str) -> Browser<'_> {
        let mut browser = self.browser();
        let answer = browser.login(name, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        browser
    }
}

impl Browser<'_> {
    pub async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path)
            .header(header::HOST, HOST)
            .header(header::COOKIE, &self.cookies);
        let request = request.body(Body::empty()).expect("a request");
        self.bench.send(request).await
    }

    pub async fn post_from(&self, origin: Option<&str>, path: &str, form: &str) -> Answer {
        let mut request = Request::post(path)
            .header(header::HOST, HOST)
            .header(header::COOKIE, &self.cookies)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let request = request.body(Body::from(form.to_owned()));
        self.bench.send(request.expect("a request")).await
    }

    pub async fn post(&self, path: &str, form: &str) -> Answer {
        let form = format!("csrf={}&{form}", self.csrf);
        self.post_from(Some(ORIGIN), path, &form).await
    }

    pub async fn login(&mut self, name: &str, password: &str) -> Answer {
        let form = self.get("/login").await;
        self.cookies = form.cookie("pgveil_login").expect("a cookie");
        let secret = self.cookies.split_once('=').expect("a value").1;
        let fields = format!(
            "csrf={}&name={name}&password={}&code=&next=%2Frequests",
            csrf_of(secret),
            password.replace(' ', "+")
        );
        let answer = self.post_from(Some(ORIGIN), "/login", &fields).await;
        if let Some(session) = answer.cookie("pgveil") {
            self.csrf = csrf_of(session.split_once('=').expect("a value").1);
            self.cookies = format!("{}; {session}", self.cookies);
        }
        answer
    }
}
