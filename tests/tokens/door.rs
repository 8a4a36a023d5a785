//! Who comes in, as whom, and by what way.
use serde_json::json;

use crate::issuer::{Issuer, Key};
use crate::support::{Authentication, Folder, Options, Pgveil, Postgres, pgveil::command};
use crate::{
    Bench, CLEAR, MASKED, PHONES, POLICY, SCHEMA, asked, psql, psql_by, records, silent, told,
};

#[test]
fn groups_and_attributes_of_a_token_give_role_and_rows() {
    let bench = Bench::new();
    let (rsa, es) = (Key::rsa("2"), Key::es("3"));
    bench.issuer.publish(&[&bench.key, &rsa, &es]);
    let pgveil = bench.start("");
    let mut tokens = Vec::new();
    for key in [&bench.key, &rsa, &es] {
        let token = key.token(&bench.issuer.claims("alice", &["support", "staff"]));
        assert_eq!(asked(&pgveil, &token, PHONES).as_deref(), Ok(MASKED));
        tokens.push(token);
    }
    let token = |person: &str, groups: &[&str]| bench.token(person, groups);
    // By a group of the token, by one of the policy, and by name.
    assert_eq!(
        asked(&pgveil, &token("eve", &["audit"]), PHONES).as_deref(),
        Ok(CLEAR)
    );
    assert_eq!(
        asked(&pgveil, &token("carol", &[]), PHONES).as_deref(),
        Ok(CLEAR)
    );
    let whose = "SELECT current_user, count(*) FROM crm.contacts";
    assert_eq!(
        asked(&pgveil, &token("dave", &[]), whose).as_deref(),
        Ok("crm_staff|3")
    );
    let mut south = bench.issuer.claims("alice", &["support"]);
    south["office"] = json!("south");
    let south = bench.key.token(&south);
    assert_eq!(asked(&pgveil, &south, PHONES).as_deref(), Ok("*******0000"));
    let nobody = asked(&pgveil, &token("mallory", &["staff"]), PHONES).unwrap_err();
    assert!(nobody.contains("no role for user"), "{nobody}");
    // Everybody else logs in as before.
    assert_eq!(
        told(&psql(&pgveil, "ann", "pencil", PHONES)).as_deref(),
        Ok("***\n***\n***")
    );
    assert!(told(&psql(&pgveil, "ann", &tokens[0], PHONES)).is_err());

    let records = records(&pgveil);
    let of = |person: &str| {
        records
            .iter()
            .filter(|record| record["person"] == person && record["kind"] == "SELECT")
            .map(|record| (record["db_user"].clone(), record["role"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("alice"), vec![(json!("crm_staff"), json!("support")); 4]);
    assert_eq!(of("carol"), [(json!("crm_staff"), json!("dpo"))]);
    assert_eq!(of("dave"), [(json!("crm_staff"), json!("own"))]);
    assert!(
        records
            .iter()
            .any(|record| record["event"] == "login_failed" && record["reason"] == "policy"),
        "{records:#?}"
    );
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    silent(&pgveil, &tokens);
}

#[test]
fn a_token_is_asked_for_over_tls_only() {
    let bench = Bench::new();
    let token = bench.token("alice", &["support"]);
    for (more, comes_in) in [("", false), ("      allow_plaintext: true", true)] {
        let pgveil = bench.start(more);
        let way = "sslmode=disable";
        let plain = told(&psql_by(&pgveil, "crm_staff", &token, way, PHONES));
        match comes_in {
            true => assert_eq!(plain.as_deref(), Ok(MASKED)),
            false => {
                let said = plain.unwrap_err();
                assert!(said.contains("a token is taken over TLS only"), "{said}");
                // Nobody asked for it: a client without any password is told the same.
                let said = told(&psql_by(&pgveil, "crm_staff", "", way, PHONES)).unwrap_err();
                assert!(said.contains("a token is taken over TLS only"), "{said}");
            }
        }
        assert_eq!(asked(&pgveil, &token, PHONES).as_deref(), Ok(MASKED));
    }
}

#[test]
fn pgveil_logs_in_as_the_account_by_whatever_is_safe() {
    for (authentication, comes_in) in [
        (Authentication::Trust, true),
        (Authentication::Scram, true),
        (Authentication::Cleartext, true),
        (Authentication::Md5, false),
    ] {
        let bench = Bench::new();
        let server = Postgres::start(Options {
            authentication,
            settings: match authentication {
                Authentication::Md5 => &[("password_encryption", "md5")],
                _ => &[],
            },
            ..Options::default()
        });
        server.sql("postgres", SCHEMA);
        let bench = Bench { server, ..bench };
        let pgveil = bench.start("");
        let answer = asked(&pgveil, &bench.token("alice", &["support"]), PHONES);
        match comes_in {
            true => assert_eq!(answer.as_deref(), Ok(MASKED), "{authentication:?}"),
            false => {
                let said = answer.unwrap_err();
                assert!(
                    said.contains("does not let pgveil in as the account"),
                    "{said}"
                );
            }
        }
    }
    // Another password than the account's is the operator's fault, and nobody is told which.
    let bench = Bench::new();
    bench
        .server
        .sql("postgres", "ALTER ROLE crm_staff PASSWORD 'another'");
    let pgveil = bench.start("");
    let said = asked(&pgveil, &bench.token("alice", &["support"]), PHONES).unwrap_err();
    assert!(
        said.contains("does not let pgveil in as the account"),
        "{said}"
    );
    silent(&pgveil, &[]);
}

#[test]
fn settings_and_policy_have_to_agree_on_who_comes_by_token() {
    let bench = Bench::new();
    let token = bench.token("alice", &["support"]);
    // The policy does not say so: a token is no reason for anything.
    let mut config = bench.config("");
    let silent_of_it = POLICY
        .replace("applications: { crm_staff: { token: staff } }\n", "")
        .replace(
            "{ db_user: crm_staff, app_user_in: audit }",
            "{ db_user: crm_staff }",
        )
        .replace(
            "{ db_user: crm_staff, app_user_in: support }",
            "{ db_user: x }",
        )
        .replace("{ db_user: crm_staff, app_user: dave }", "{ db_user: y }");
    config.policy(&silent_of_it);
    let pgveil = Pgveil::start(&config);
    let said = asked(&pgveil, &token, PHONES).unwrap_err();
    assert!(said.contains("no role for user"), "{said}");
    drop(pgveil);
    // The settings do not: pgveil does not start.
    let mut config = bench.config("");
    config.set("auth", "{ method: scram }");
    let folder = Folder::new("tokens");
    let path = config.write(&folder);
    let mut serve = command();
    serve.args(["serve", "--config"]).arg(path);
    let output = serve.output().expect("pgveil");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("log in by tokens of `staff`"), "{said}");
}

#[test]
fn what_a_client_gets_to_see_depends_on_the_masks_of_its_token_alone() {
    let mut answers = Vec::new();
    for secret in ["13812345678", "13899995678"] {
        let bench = Bench::new();
        bench.server.sql(
            "postgres",
            &format!("UPDATE crm.contacts SET phone = '{secret}' WHERE id = 1"),
        );
        let pgveil = bench.start("");
        let token = bench.token("alice", &["support"]);
        let mut said = Vec::new();
        for text in [
            PHONES,
            "SELECT id FROM crm.contacts WHERE phone > '1385' ORDER BY id",
            "SELECT phone::bigint FROM crm.contacts",
            "SELECT row_to_json(c) FROM crm.contacts c ORDER BY id",
            "COPY crm.contacts TO STDOUT",
            "SELECT * FROM crm.contacts ORDER BY phone, id",
            "SELECT max(phone) FROM crm.contacts",
        ] {
            said.push(asked(&pgveil, &token, text));
        }
        // The control: somebody with another token does see the difference.
        said.push(asked(&pgveil, &bench.token("eve", &["audit"]), PHONES));
        answers.push(said);
    }
    let (last, first): (Vec<_>, Vec<_>) = answers.iter_mut().map(|said| (said.pop(), said)).unzip();
    assert_eq!(first[0], first[1]);
    assert_ne!(last[0], last[1], "the databases are no twins");
}

/// The issuer's certificate is of an authority that pgveil does not know.
#[test]
fn keys_of_an_issuer_without_the_right_certificate_are_not_taken() {
    let bench = Bench::new();
    let other = crate::Certificates::new();
    let issuer = Issuer::start(&other);
    issuer.publish(&[&bench.key]);
    let bench = Bench { issuer, ..bench };
    let pgveil = bench.start("");
    let said = asked(&pgveil, &bench.token("alice", &["support"]), PHONES).unwrap_err();
    assert!(
        said.contains("the keys of their issuer cannot be read"),
        "{said}"
    );
}
