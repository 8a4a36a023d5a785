use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::*;
use crate::config::Secret;

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn caller() -> Caller {
    Caller {
        db_user: "crm_app".to_owned(),
        database: "crm".to_owned(),
        address: [127, 0, 0, 1].into(),
        certificate: None,
        application_name: String::new(),
        token: None,
    }
}

fn naming(named_by: NamedBy, signed: bool) -> Naming {
    let application = Application {
        named_by,
        signed: signed.then(|| "crm".into()),
    };
    let verifier = Verifier {
        key: Secret::new(KEY.to_owned()),
        max_age: Duration::from_secs(60),
    };
    Naming::new(&caller(), Some(application), Some(verifier), true)
}

fn commented(signed: bool) -> Naming {
    naming(NamedBy::Comment("app_user".into()), signed)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn refused<T>(result: Result<T, Refusal>) -> String {
    match result {
        Ok(_) => "taken".to_owned(),
        Err(refusal) => {
            assert!(!refusal.hint.is_empty());
            refusal.detail
        }
    }
}

/// By an implementation of its own, from what the documentation says.
fn sign(key: &str, user: &str, purpose: &str, time: u64, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    let signed = format!("pgveil app_user 1\ncrm_app\ncrm\n{user}\n{purpose}\n{time}\n{text}");
    mac.update(signed.as_bytes());
    let digits = mac.finalize().into_bytes();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_first_or_last_comment_names_the_user() {
    let naming = commented(false);
    for (text, user, bare) in [
        ("SELECT 1 /*app_user='alice'*/", "alice", "SELECT 1  "),
        (
            "SELECT 1 /*app_user='alice'*/ ;\n",
            "alice",
            "SELECT 1   ;\n",
        ),
        ("SELECT 1; /* app_user = 'alice' */", "alice", "SELECT 1;  "),
        (
            "/*app_user='alice'*/SELECT 1",
            "alice",
            "                    SELECT 1",
        ),
        (
            "SELECT 1 /*traceparent='00-1',app_user='M%C3%BCller%20%27x%27',route='%2Fa'*/",
            "Müller 'x'",
            "SELECT 1  ",
        ),
        ("SELECT 1 /*app_user='it\\'s'*/", "it's", "SELECT 1  "),
        (
            "SELECT 1 /*b='x'*/ /*app_user='alice'*/",
            "alice",
            "SELECT 1 /*b='x'*/  ",
        ),
    ] {
        let read = naming.read(text, now()).expect(text);
        assert_eq!(read.spoken.app_user.as_deref(), Some(user), "{text}");
        assert_eq!(read.text.as_deref(), Some(bare), "{text}");
    }
}

/// pgjdbc appends it for generated keys, behind the comment that Hibernate's sqlcommenter has put at the end.
#[test]
fn a_comment_may_stand_before_an_appended_returning() {
    let naming = commented(false);
    let insert = "INSERT INTO t(a) VALUES ($1) /*app_user='alice'*/";
    for tail in [
        "\nRETURNING *",
        "\nRETURNING \"id\"",
        "\nRETURNING \"id\",\"a b\" ;\n",
        " returning id, made",
    ] {
        let text = format!("{insert}{tail}");
        let read = naming.read(&text, now()).expect(&text);
        assert_eq!(read.spoken.app_user.as_deref(), Some("alice"), "{text}");
        let blanks = " ".repeat("/*app_user='alice'*/".len());
        let bare = format!("INSERT INTO t(a) VALUES ($1) {blanks}{tail}");
        assert_eq!(read.text, Some(bare), "{text}");
    }
    for text in [
        format!("{insert} RETURNING id, phone || ''"),
        format!("{insert} RETURNING (SELECT 1)"),
        format!("{insert} RETURNING id AS x"),
        format!("{insert} RETURNING id,"),
        format!("{insert} RETURNING"),
        format!("{insert} RETURNING *, id"),
        format!("{insert} RETURNING 'x'"),
        format!("{insert} RETURNING t.*"),
        format!("{insert} RETURNING id; SELECT 1"),
        format!("{insert} RETURNING id /*x='1'*/"),
        format!("{insert} RETURNING id /*app_user='boss'*/"),
        format!("{insert} ON CONFLICT DO NOTHING RETURNING id"),
        // What was injected makes a name of the application's own comment.
        "INSERT INTO t VALUES ('x') /*app_user='boss'*/ RETURNING \"') /*app_user='alice'*/\""
            .to_owned(),
        "INSERT INTO t VALUES ('x') /*app_user='boss'*/ RETURNING \"') /*APP%5FUSER='alice'*/\""
            .to_owned(),
        "INSERT INTO t VALUES ('x') -- /*app_user='alice'*/\nRETURNING id".to_owned(),
    ] {
        assert_ne!(refused(naming.read(&text, now())), "taken", "{text}");
    }
    // What was appended is not what was signed.
    let (text, at) = ("INSERT INTO t(a) VALUES ($1)", 1_800_000_000);
    let signature = sign(KEY, "alice", "", at, text);
    let signed = format!(
        "{text} /*app_user='alice',app_user_time='{at}',app_user_sig='{signature}'*/\nRETURNING *"
    );
    assert_ne!(refused(commented(true).read(&signed, now())), "taken");
}

#[test]
fn what_is_no_comment_names_nobody() {
    let naming = commented(false);
    for text in [
        "SELECT 1",
        "SELECT '/*app_user=''boss''*/'",
        "SELECT $$ /*app_user='boss'*/ $$",
        "SELECT $x$ /*app_user='boss'*/ $x$",
        "SELECT E'\\'/*app_user=\\'boss\\'*/'",
        "SELECT 1 AS \"/*app_user='boss'*/\"",
        "SELECT 1 /*route='/x'*/",
        "SELECT 1 -- nothing",
    ] {
        let read = naming.read(text, now()).expect(text);
        assert_eq!(read.spoken, Spoken::default(), "{text}");
    }
}

#[test]
fn doubt_is_refused() {
    let naming = commented(false);
    let alice = "/*app_user='alice'*/";
    for text in [
        // Duplicated and contradictory.
        format!("SELECT 1 {alice} {alice}"),
        format!("{alice} SELECT 1 {alice}"),
        format!("SELECT 1 /*app_user='boss'*/ {alice}"),
        "SELECT 1 /*app_user='alice',app_user='boss'*/".to_owned(),
        "SELECT 1 /*app_user='alice',app%5Fuser='boss'*/".to_owned(),
        // Injected before the application's own, which was made a comment of the line.
        format!("SELECT 1 /*app_user='boss'*/ -- ' {alice}"),
        "SELECT 1 /*app_user='boss'*/ --'".to_owned(),
        "SELECT 1 /*app_user='boss'*/ --'\n".to_owned(),
        // In the middle, alone and besides.
        "SELECT /*app_user='boss'*/ 1".to_owned(),
        format!("SELECT /*app_user='boss'*/ 1 {alice}"),
        format!("SELECT 1; /*app_user='boss'*/ SELECT 2 {alice}"),
        "SELECT 1; /*app_user='boss'*/ SELECT 2".to_owned(),
        // Of a line, nested, and mentioned in passing.
        "SELECT 1 -- app_user='boss'".to_owned(),
        "SELECT 1 --app_user='boss'\n".to_owned(),
        "SELECT 1 /* /*app_user='boss'*/ */".to_owned(),
        "SELECT 1 /*app_user='boss' /* */ */".to_owned(),
        format!("/* app_user */ SELECT 1 {alice}"),
        format!("SELECT 1 /* APP_USER='boss' */ {alice}"),
        format!("SELECT 1 /* %61pp_user='boss' */ {alice}"),
        format!("SELECT 1 /*x='1'*/ {alice} /*y='2'*/"),
        // Not of the form.
        "SELECT 1 /*app_user=alice*/".to_owned(),
        "SELECT 1 /*app_user='alice*/".to_owned(),
        "SELECT 1 /*app_user='alice' 'boss'*/".to_owned(),
        "SELECT 1 /*app_user='alice',*/".to_owned(),
        "SELECT 1 /*app_user='al%ice'*/".to_owned(),
        "SELECT 1 /*app_user='%ff'*/".to_owned(),
        "SELECT 1 /*app_user='al\\ice'*/".to_owned(),
        "SELECT 1 /*app_user=''*/".to_owned(),
        "SELECT 1 /*app_user=' alice'*/".to_owned(),
        "SELECT 1 /*app_user='a%0ab'*/".to_owned(),
        format!("SELECT 1 /*app_user='{}'*/", "a".repeat(256)),
        // It does not end.
        format!("SELECT 1 /*app_user='boss'*/ /* ' {alice}"),
        format!("SELECT 1 /*app_user='boss'*/ || $$ ' {alice}"),
    ] {
        assert_ne!(refused(naming.read(&text, now())), "taken", "{text}");
    }
}

#[test]
fn a_signature_holds_for_its_statement_its_user_and_its_time() {
    let naming = commented(true);
    let at = 1_800_000_000;
    let text = "SELECT phone FROM contacts WHERE id = $1";
    let comment = |user: &str, time: u64, signature: &str| {
        format!("/*app_user='{user}',app_user_time='{time}',app_user_sig='{signature}'*/")
    };
    let good = sign(KEY, "alice", "", at - 30, text);
    for signed in [
        format!("{text} {}", comment("alice", at - 30, &good)),
        format!("{} {text}", comment("alice", at - 30, &good)),
    ] {
        let read = naming.read(&signed, now()).expect("signed");
        assert_eq!(read.spoken.app_user.as_deref(), Some("alice"));
        assert_eq!(read.spoken.expires, Some(now() + Duration::from_secs(30)));
        // ... and not when it is run later.
        let facts = SessionFacts::default();
        let later = now() + Duration::from_secs(30);
        assert!(naming.claim(&read.spoken, &facts, now()).is_ok());
        let late = refused(naming.claim(&read.spoken, &facts, later));
        assert_eq!(late, "its signature has expired");
    }

    let forged = "its signature is not the application's, or is for another statement";
    for (signed, why) in [
        // Unsigned, and signed in part.
        (format!("{text} /*app_user='alice'*/"), "it is not signed"),
        (
            format!("{text} /*app_user='alice',app_user_time='{at}'*/"),
            "it is not signed",
        ),
        // Forged: by another key, of another user, another time, another statement.
        (
            format!(
                "{text} {}",
                comment(
                    "alice",
                    at,
                    &sign(&KEY.replace('0', "1"), "alice", "", at, text)
                )
            ),
            forged,
        ),
        (
            format!("{text} {}", comment("boss", at - 30, &good)),
            forged,
        ),
        (
            format!("{text} {}", comment("alice", at - 29, &good)),
            forged,
        ),
        (
            format!("{text} OR true {}", comment("alice", at - 30, &good)),
            forged,
        ),
        (
            format!("SELECT 1; {text} {}", comment("alice", at - 30, &good)),
            forged,
        ),
        (
            format!("{text} {}", comment("alice", at - 30, "")),
            "it holds no name",
        ),
        (
            format!("{text} {}", comment("alice", at - 30, &good[2..])),
            forged,
        ),
        (
            format!("{text} {}", comment("alice", at - 30, "zz")),
            forged,
        ),
        // Too old, and of a time to come.
        (
            format!(
                "{text} {}",
                comment("alice", at - 60, &sign(KEY, "alice", "", at - 60, text))
            ),
            "its signature has expired",
        ),
        (
            format!(
                "{text} {}",
                comment("alice", at + 6, &sign(KEY, "alice", "", at + 6, text))
            ),
            "its time is in the future",
        ),
        // A purpose is signed with the rest.
        (
            format!(
                "{text} {}",
                comment("alice", at - 30, &good).replace("*/", ",pgveil_purpose='x'*/")
            ),
            forged,
        ),
    ] {
        let found = refused(naming.read(&signed, now()));
        assert!(found.ends_with(why), "{signed}: {found}");
    }
    let keyless = Naming {
        verifier: None,
        ..commented(true)
    };
    let signed = format!("{text} {}", comment("alice", at - 30, &good));
    assert_ne!(refused(keyless.read(&signed, now())), "taken");
}

#[test]
fn what_is_injected_is_signed_for_whom_it_was_injected_by() {
    let naming = commented(true);
    let at = 1_800_000_000;
    let boss = sign(KEY, "boss", "", at, "SELECT 1");
    let injected =
        format!("SELECT 1 /*app_user='boss',app_user_time='{at}',app_user_sig='{boss}'*/ --'");
    // The application signs what it is about to send.
    let own = sign(KEY, "alice", "", at, &injected);
    let sent = format!("{injected} /*app_user='alice',app_user_time='{at}',app_user_sig='{own}'*/");
    assert_ne!(refused(naming.read(&sent, now())), "taken");
}

#[test]
fn a_setting_names_the_user_of_the_session() {
    let setting = || NamedBy::Setting("app.current_user".into());
    let facts = |user: &str, purpose: &str| SessionFacts {
        said: vec![user.to_owned(), purpose.to_owned()],
        ..SessionFacts::default()
    };
    let spoken = Spoken::default();
    let open = naming(setting(), false);
    let user = |naming: &Naming, value: &str| {
        let claim = naming.claim(&spoken, &facts(value, ""), now())?;
        Ok::<_, Refusal>(claim.app_user.map(|user| user.to_string()))
    };
    assert_eq!(
        user(&open, "alice").expect("a name").as_deref(),
        Some("alice")
    );
    assert_eq!(user(&open, "").expect("nobody"), None);
    for wrong in [" alice", "a\nb", "\0"] {
        assert_ne!(refused(user(&open, wrong)), "taken", "{wrong:?}");
    }

    let signed = naming(setting(), true);
    let at = 1_800_000_000;
    let good = sign(KEY, "alice", "", at, "SET app.current_user");
    let value = format!("v1 {at} {good} alice");
    assert_eq!(
        user(&signed, &value).expect("signed").as_deref(),
        Some("alice")
    );
    let elsewhere = sign(KEY, "alice", "", at, "SELECT 1");
    for wrong in [
        "alice".to_owned(),
        value.replace("alice", "boss"),
        value.replace("v1", "v2"),
        format!("v1 {at} {elsewhere} alice"),
        format!("v1 {} {good} alice", at + 1),
    ] {
        assert_ne!(refused(user(&signed, &wrong)), "taken", "{wrong}");
    }
    let late = now() + Duration::from_secs(60);
    assert_ne!(
        refused(signed.claim(&spoken, &facts(&value, ""), late)),
        "taken"
    );
}

#[test]
fn a_comment_gives_the_purpose_of_a_statement_and_a_setting_that_of_the_session() {
    let naming = Naming::new(&caller(), None, None, true);
    let facts = SessionFacts {
        said: vec!["billing".to_owned()],
        ..SessionFacts::default()
    };
    let purpose = |text: &str| {
        let read = naming.read(text, now())?;
        let claim = naming.claim(&read.spoken, &facts, now())?;
        Ok::<_, Refusal>(claim.purpose.map(|purpose| purpose.to_string()))
    };
    let said = |text: &str| purpose(text).expect(text);
    assert_eq!(said("SELECT 1").as_deref(), Some("billing"));
    assert_eq!(
        said("SELECT 1 /*pgveil_purpose='support'*/").as_deref(),
        Some("support")
    );
    // Nobody shares the user: who it names is of no matter.
    assert_eq!(
        said("SELECT 1 /*app_user='boss'*/").as_deref(),
        Some("billing")
    );
    for wrong in [
        "SELECT 1 /*pgveil_purpose='a'*/ /*pgveil_purpose='a'*/",
        "SELECT /*pgveil_purpose='a'*/ 1",
    ] {
        assert_ne!(refused(purpose(wrong)), "taken", "{wrong}");
    }
}
