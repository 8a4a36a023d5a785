//! The API over the router that is served, and its description.
use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{OPENAPI, table};
use crate::admin::console::bench::{Bench, PASSWORD};

fn described() -> Value {
    serde_json::from_str(OPENAPI).expect("JSON")
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{pointer} in {value}"))
}

#[test]
fn every_route_is_described_and_everything_described_is_a_route() {
    let routes: BTreeSet<(String, String)> = table()
        .into_iter()
        .map(|(method, path, _)| (method.to_owned(), path.to_owned()))
        .collect();
    let described = described();
    let described: BTreeSet<(String, String)> = at(&described, "/paths")
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods.map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    assert_eq!(routes, described);
}

#[test]
fn what_the_description_refers_to_is_there() {
    fn check(value: &Value, root: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    at(root, to.trim_start_matches('#'));
                }
                map.values().for_each(|value| check(value, root));
            }
            Value::Array(values) => values.iter().for_each(|value| check(value, root)),
            _ => {}
        }
    }
    check(&described(), &described());
}

#[tokio::test]
async fn each_described_call_answers_and_needs_a_token_unless_it_says_otherwise() {
    let bench = Bench::new("described").await;
    let described = described();
    for (path, methods) in at(&described, "/paths").as_object().expect("paths") {
        for (method, call) in methods.as_object().expect("methods") {
            let open = call.get("security").is_some();
            let path = path.replace("{id}", "00000000").replace("{name}", "lena");
            for token in [None, Some("pgveil_none")] {
                let answer = bench.api(method, &path, token, Some(&json!({}))).await;
                let status = answer.0.as_u16();
                match open {
                    true => assert!(status == 200 || status == 422, "{method} {path}: {status}"),
                    false => assert_eq!(status, 401, "{method} {path}"),
                }
            }
        }
    }
    assert_eq!(
        bench.api("get", "/api/v1/nothing", None, None).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn two_people_sign_over_the_api_and_nobody_else_does() {
    let bench = Bench::new("signing").await;
    let id = bench.ask("mallory", "SELECT $1").await;
    let path = format!("/api/v1/requests/{id}");
    let approve = format!("{path}/approve");
    let token = async |name: &'static str, groups: &'static [&'static str]| {
        bench.account(name, groups).await;
        let order = json!({ "name": name, "password": PASSWORD });
        let (status, answer) = bench
            .api("post", "/api/v1/tokens", None, Some(&order))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        at(&answer, "/token").as_str().expect("a token").to_owned()
    };
    let lena = token("lena", &["legal", "dpo"]).await;
    let dana = token("dana", &["dpo"]).await;
    // The requester is in a group of approvers as well.
    let mallory = token("mallory", &["legal", "dpo"]).await;
    let outsider = token("otto", &["finance"]).await;
    let boss = token("root", &["admin"]).await;
    let call = async |token: &str, body: Value| {
        bench.api("post", &approve, Some(token), Some(&body)).await
    };

    for (who, status) in [
        (&outsider, StatusCode::NOT_FOUND),
        (&mallory, StatusCode::CONFLICT),
        (&boss, StatusCode::CONFLICT),
    ] {
        assert_eq!(call(who, json!({ "seen": 1 })).await.0, status);
    }
    for wrong in [
        json!({ "seen": 1, "rows": 0 }),
        json!({ "seen": 1, "rows": 1_000_000 }),
        json!({ "seen": 1, "clear": ["name"] }),
        // Somebody else has read it later.
        json!({ "seen": 2 }),
    ] {
        assert_eq!(call(&lena, wrong).await.0, StatusCode::CONFLICT);
    }
    for unread in [
        json!({}),
        json!({ "seen": 1, "rows": -1 }),
        json!({ "seen": 1, "row": 1 }),
    ] {
        assert_eq!(
            call(&lena, unread).await.0,
            StatusCode::UNPROCESSABLE_ENTITY
        );
    }
    let (status, answer) = call(
        &lena,
        json!({ "seen": 1, "rows": 10, "comment": "as agreed" }),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(at(&answer, "/missing"), &json!(["dpo"]));
    let (status, answer) = call(&lena, json!({ "seen": 2, "group": "dpo" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer.to_string().contains("signed already"), "{answer}");
    let (status, answer) = call(&dana, json!({ "seen": 1 })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(answer.to_string().contains("changed since"), "{answer}");
    let (_, answer) = call(&dana, json!({ "seen": 2 })).await;
    assert_eq!(at(&answer, "/state"), "granted");
    assert_eq!(at(&answer, "/granted/rows"), 10);

    let (_, answer) = bench.api("get", &path, Some(&boss), None).await;
    assert_eq!(at(&answer, "/signatures/1/person"), "dana");
    assert!(!answer.to_string().contains("digest"), "{answer}");
    let (_, list) = bench
        .api("get", "/api/v1/requests?state=granted", Some(&dana), None)
        .await;
    assert_eq!(at(&list, "/requests/0/id"), &json!(id));

    // Who asked takes it back, and nobody else.
    let withdraw = format!("{path}/withdraw");
    let (status, _) = bench.api("post", &withdraw, Some(&dana), None).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, answer) = bench.api("post", &withdraw, Some(&mallory), None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(at(&answer, "/state"), "withdrawn");
    assert_eq!(
        call(&dana, json!({ "seen": 4 })).await.0,
        StatusCode::CONFLICT
    );
}

#[tokio::test]
async fn accounts_are_for_administrators() {
    let bench = Bench::new("administrators").await;
    bench.account("lena", &["legal"]).await;
    bench.account("root", &["admin"]).await;
    let lena = bench.token("lena").await;
    let root = bench.token("root").await;
    let new = json!({ "name": "eve", "groups": ["dpo"], "password": PASSWORD });
    let add = async |token: &str| {
        bench
            .api("post", "/api/v1/accounts", Some(token), Some(&new))
            .await
    };
    assert_eq!(add(&lena).await.0, StatusCode::FORBIDDEN);
    assert_eq!(add(&root).await.0, StatusCode::CREATED);
    assert_eq!(add(&root).await.0, StatusCode::CONFLICT);
    let (_, listed) = bench
        .api("get", "/api/v1/accounts", Some(&root), None)
        .await;
    let listed = listed.to_string();
    assert!(
        listed.contains("eve") && !listed.contains("argon2"),
        "{listed}"
    );
    for (method, path, status) in [
        ("delete", "/api/v1/accounts/eve", StatusCode::NO_CONTENT),
        ("delete", "/api/v1/accounts/eve", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(bench.api(method, path, Some(&root), None).await.0, status);
    }
    let record = bench.record();
    assert!(
        record.contains("account eve added for eve, groups: dpo"),
        "{record}"
    );
    assert!(record.contains("account eve removed"), "{record}");
    assert!(!record.contains(PASSWORD), "{record}");
}
