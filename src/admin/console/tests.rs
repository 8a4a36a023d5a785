//! The console over the router that is served: what browsers and those who pretend to be one get.
use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use super::MAX_BODY;
use super::bench::{Bench, HOST, ORIGIN};
use super::session::csrf_of;

#[tokio::test]
async fn every_page_needs_a_login_and_says_where_one_was() {
    let bench = Bench::new("pages").await;
    for path in [
        "/",
        "/requests",
        "/requests/1",
        "/history",
        "/people",
        "/refusals",
        "/mine",
        "/account",
    ] {
        let answer = bench.browser().get(path).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert_eq!(answer.location(), format!("/login?next={path}"));
    }
    bench.account("lena", &["legal"]).await;
    let lena = bench.signed_in("lena").await;
    for path in [
        "/requests",
        "/history",
        "/people",
        "/refusals",
        "/refusals/rows",
        "/mine",
        "/account",
    ] {
        let answer = lena.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    }
    assert!(lena.get("/people").await.text.contains("mallory"));
    assert_eq!(lena.get("/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_failed_login_says_the_same_whoever_it_was_and_is_on_record() {
    let bench = Bench::new("failed").await;
    bench.account("lena", &["legal"]).await;
    let mut texts = Vec::new();
    for name in ["lena", "nobody"] {
        let answer = bench.browser().login(name, "wrong").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.cookie("pgveil").is_none());
        let csrf = answer.text.split("name=\"csrf\" value=\"").nth(1);
        let csrf = csrf.and_then(|rest| rest.split('"').next()).unwrap_or("-");
        texts.push(answer.text.replace(csrf, "").replace(name, ""));
    }
    assert_eq!(texts.first(), texts.get(1));
    let record = bench.record();
    assert!(
        record.contains(r#""person":"lena""#) && record.contains("wrong password"),
        "{record}"
    );
    assert!(
        record.contains("no such account") && !record.contains("nobody"),
        "{record}"
    );
}

#[tokio::test]
async fn a_forged_form_changes_nothing() {
    let bench = Bench::new("forged").await;
    bench.account("lena", &["legal"]).await;
    let id = bench.ask("mallory", "SELECT $1").await;
    let lena = bench.signed_in("lena").await;
    let path = format!("/requests/{id}/approve");
    let good = format!("csrf={}&seen=1", lena.csrf);
    let other = csrf_of("another session");
    for (origin, form) in [
        (Some(ORIGIN), "seen=1".to_owned()),
        (Some(ORIGIN), format!("csrf={other}&seen=1")),
        (Some(ORIGIN), "csrf=&seen=1".to_owned()),
        (Some("https://evil.example"), good.clone()),
        (Some("null"), good.clone()),
        (None, good.clone()),
    ] {
        let answer = lena.post_from(origin, &path, &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin:?} {form}");
    }
    let request = bench.app.desk.get(&id).await.expect("there");
    assert_eq!(request.signatures().count(), 0);
    assert!(
        bench
            .record()
            .contains("a form without the session's token")
    );
    let answer = lena.post_from(Some(ORIGIN), &path, &good).await;
    assert_eq!(answer.location(), format!("/requests/{id}?done=approved"));
}

#[tokio::test]
async fn the_same_person_cannot_sign_twice_and_the_requester_not_at_all() {
    let bench = Bench::new("twice").await;
    for name in ["lena", "mallory", "mallory_batch"] {
        bench.account(name, &["legal", "dpo"]).await;
    }
    let id = bench.ask("mallory", "SELECT $1").await;
    let path = format!("/requests/{id}/approve");
    for name in ["mallory", "mallory_batch"] {
        let mallory = bench.signed_in(name).await;
        let answer = mallory.post(&path, "seen=1").await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{name}");
        assert!(answer.text.contains("cannot sign it"), "{}", answer.text);
    }
    let lena = bench.signed_in("lena").await;
    assert_eq!(
        lena.post(&path, "seen=1&group=legal").await.status,
        StatusCode::SEE_OTHER
    );
    let again = lena.post(&path, "seen=2&group=dpo").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.text.contains("signed already"), "{}", again.text);
}

#[tokio::test]
async fn what_changed_since_it_was_read_is_not_signed() {
    let bench = Bench::new("changed").await;
    bench.account("lena", &["legal"]).await;
    let id = bench.ask("mallory", "SELECT $1").await;
    let lena = bench.signed_in("lena").await;
    let explained = bench
        .app
        .desk
        .explain(&id, "mallory", "another reason")
        .await;
    explained.expect("explained");
    let answer = lena
        .post(&format!("/requests/{id}/approve"), "seen=1")
        .await;
    assert_eq!(answer.location(), format!("/requests/{id}?done=changed"));
    let request = bench.app.desk.get(&id).await.expect("there");
    assert_eq!(request.signatures().count(), 0);
}

#[tokio::test]
async fn people_see_their_own_requests_and_those_they_could_sign() {
    let bench = Bench::new("sight").await;
    for (name, groups) in [
        ("lena", &["legal"][..]),
        ("otto", &["finance"]),
        ("mallory", &[]),
        ("eve", &[]),
    ] {
        bench.account(name, groups).await;
    }
    let id = bench.ask("mallory", "SELECT $1").await;
    let path = format!("/requests/{id}");
    for (name, status) in [
        ("lena", StatusCode::OK),
        ("mallory", StatusCode::OK),
        ("otto", StatusCode::NOT_FOUND),
        ("eve", StatusCode::NOT_FOUND),
    ] {
        let browser = bench.signed_in(name).await;
        assert_eq!(browser.get(&path).await.status, status, "{name}");
        let listed = browser.get("/requests").await.text.contains(&id);
        assert_eq!(listed, status == StatusCode::OK, "{name}");
    }
    let eve = bench.signed_in("eve").await;
    assert_eq!(eve.get("/people").await.status, StatusCode::NOT_FOUND);
    assert_eq!(eve.get("/refusals").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_people_write_is_text_and_never_markup() {
    let bench = Bench::new("markup").await;
    bench.account("lena", &["legal"]).await;
    let evil = "<script>alert(1)</script>\"'><img src=x>";
    let id = bench.ask("mallory", evil).await;
    let explained = bench.app.desk.explain(&id, "mallory", evil).await;
    explained.expect("explained");
    let lena = bench.signed_in("lena").await;
    for path in ["/requests".to_owned(), format!("/requests/{id}")] {
        let text = lena.get(&path).await.text;
        assert!(text.contains("alert(1)"), "{path}");
        assert!(
            !text.contains("<script>") && !text.contains("<img"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_and_no_page_an_inline_script_or_style() {
    let bench = Bench::new("headers").await;
    bench.account("lena", &["legal"]).await;
    let id = bench.ask("mallory", "SELECT $1").await;
    let lena = bench.signed_in("lena").await;
    let request = format!("/requests/{id}");
    for path in [
        "/login",
        "/requests",
        &request,
        "/people",
        "/refusals",
        "/account",
        "/nothing",
        "/assets/console.css",
        "/api/v1/openapi.json",
    ] {
        let answer = lena.get(path).await;
        let header = |name: &str| {
            let value = answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        let cached = path.starts_with("/assets/");
        assert_eq!(header("cache-control") == "no-store", !cached, "{path}");
        for inline in [
            " style=",
            " onclick",
            " onload",
            "<style",
            "javascript:",
            "http://",
            "https://",
        ] {
            if path != "/api/v1/openapi.json" {
                assert!(!answer.text.contains(inline), "{path}: {inline}");
            }
        }
    }
}

#[tokio::test]
async fn another_name_for_this_host_is_not_answered() {
    let bench = Bench::new("host").await;
    for (host, status) in [
        (HOST, StatusCode::OK),
        ("localhost:9443", StatusCode::OK),
        ("evil.example:9443", StatusCode::MISDIRECTED_REQUEST),
        ("127.0.0.1", StatusCode::MISDIRECTED_REQUEST),
    ] {
        let request = Request::get("/login").header(header::HOST, host);
        let request = request.body(Body::empty()).expect("a request");
        assert_eq!(bench.send(request).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let bench = Bench::new("logout").await;
    bench.account("lena", &["legal"]).await;
    let lena = bench.signed_in("lena").await;
    assert_eq!(lena.post("/logout", "").await.location(), "/login");
    let answer = lena.get("/requests").await;
    assert_eq!(answer.location(), "/login?next=/requests");
    let record = bench.record();
    assert!(
        record.contains("signed in with a password") && record.contains("signed out"),
        "{record}"
    );
}

#[tokio::test]
async fn pages_are_in_the_language_that_was_asked_for_or_chosen() {
    let bench = Bench::new("language").await;
    let request = Request::get("/login")
        .header(header::HOST, HOST)
        .header(header::ACCEPT_LANGUAGE, "zh-CN");
    let page = bench
        .send(request.body(Body::empty()).expect("a request"))
        .await;
    assert!(page.text.contains("lang=\"zh\"") && page.text.contains("登录"));
    let mut browser = bench.browser();
    let chosen = browser.get("/language/zh?next=//evil.example").await;
    assert_eq!(chosen.location(), "/");
    browser.cookies = chosen.cookie("pgveil_language").expect("a cookie");
    assert!(browser.get("/login").await.text.contains("登录"));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let bench = Bench::new("long").await;
    let long = "x".repeat(MAX_BODY + 1);
    let browser = bench.browser();
    let answer = browser
        .post_from(Some(ORIGIN), "/login", &format!("name={long}"))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let order = serde_json::json!({ "name": long, "password": "x" });
    let (status, _) = bench
        .api("post", "/api/v1/tokens", None, Some(&order))
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}
