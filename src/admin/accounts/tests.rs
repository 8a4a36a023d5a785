//! Accounts on a store in a folder of their own.
use super::totp::{STEP, TotpSecret};
use super::*;
use crate::export::store::Sqlite;

const PASSWORD: &str = "correct horse battery";

struct Fixture {
    accounts: Accounts,
    store: Arc<dyn Store>,
    folder: std::path::PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("pgveil-accounts-{}-{name}", std::process::id()));
        let store: Arc<dyn Store> =
            Arc::new(Sqlite::open(&folder.join("state.db")).expect("opened"));
        Fixture {
            accounts: Accounts::new(Arc::clone(&store)),
            store,
            folder,
        }
    }

    async fn lena(&self) -> Account {
        self.accounts
            .add("Lena", "lena", &["legal".to_owned()], PASSWORD)
            .await
            .expect("added")
    }

    async fn body(&self, name: &str) -> String {
        let found = self.store.get(ACCOUNT, name, now()).await.expect("read");
        found.expect("there").body
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn the_right_password_gets_in_and_is_not_stored() {
    let fixture = Fixture::new("password");
    fixture.lena().await;
    let identity = fixture.accounts.login("LENA ", PASSWORD, "").await;
    let identity = identity.expect("in");
    assert_eq!(identity.person, "lena");
    assert_eq!(
        identity.approver().groups,
        BTreeSet::from(["legal".to_owned()])
    );
    let body = fixture.body("lena").await;
    assert!(body.contains("$argon2id$v=19$m=19456,t=2,p=1$"), "{body}");
    assert!(!body.contains(PASSWORD));
    let shown = format!("{:?}", fixture.accounts.get("lena").await);
    assert!(!shown.contains("argon2"), "{shown}");
}

#[tokio::test]
async fn wrong_passwords_and_unknown_names_are_refused() {
    let fixture = Fixture::new("wrong");
    fixture.lena().await;
    let login = |name: &'static str, password: &'static str| {
        let accounts = fixture.accounts.clone();
        async move { accounts.login(name, password, "").await }
    };
    assert_eq!(login("lena", "wrong").await, Err(Refused::Password));
    assert_eq!(login("mallory", PASSWORD).await, Err(Refused::Unknown));
    assert_eq!(login("l\0na", PASSWORD).await, Err(Refused::Unknown));
    assert_eq!(login("", "").await, Err(Refused::Unknown));
}

#[tokio::test]
async fn a_name_that_nobody_has_takes_a_hash_and_is_locked_alike() {
    let fixture = Fixture::new("enumeration");
    fixture.lena().await;
    // Each takes one hash, whoever is named and however long the password is.
    let compared = || {
        let compared = &fixture.accounts.passwords.compared;
        compared.load(std::sync::atomic::Ordering::Relaxed)
    };
    for name in ["lena", "nobody", "no name at all"] {
        for password in ["wrong", &"x".repeat(10_000)] {
            let before = compared();
            let _ = fixture.accounts.login(name, password, "").await;
            assert_eq!(compared() - before, 1, "{name}");
        }
    }
    for name in ["lena", "nobody"] {
        let mut locked = false;
        for _ in 0..4 {
            locked |= matches!(
                fixture.accounts.login(name, "wrong", "").await,
                Err(Refused::Locked(_))
            );
        }
        assert!(locked, "{name}");
    }
}

#[test]
fn the_delay_doubles_from_the_fifth_failure_and_has_an_end() {
    let delays: Vec<Seconds> = (0..=14).map(delay).collect();
    assert_eq!(
        delays,
        [0, 0, 0, 0, 0, 5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    );
    assert_eq!(delay(u32::MAX), MAX_DELAY);
}

#[tokio::test]
async fn guesses_at_the_same_time_are_counted_one_by_one() {
    let fixture = Fixture::new("race");
    fixture.lena().await;
    let guesses = (0..12).map(|_| {
        let accounts = fixture.accounts.clone();
        tokio::spawn(async move { accounts.login("lena", "wrong", "").await })
    });
    let mut looked_at = 0;
    for guess in guesses.collect::<Vec<_>>() {
        looked_at += u32::from(guess.await.expect("ran") == Err(Refused::Password));
    }
    assert!(looked_at <= FREE_FAILURES + 1, "{looked_at}");
    // The right password does not get in while the lock holds.
    assert!(matches!(
        fixture.accounts.login("lena", PASSWORD, "").await,
        Err(Refused::Locked(_))
    ));
    fixture
        .accounts
        .set_password("lena", "another good password")
        .await
        .expect("set");
    let identity = fixture
        .accounts
        .login("lena", "another good password", "")
        .await;
    assert!(identity.is_ok(), "{identity:?}");
}

#[test]
fn codes_are_those_of_the_rfc() {
    // RFC 6238, appendix B, cut to six digits: the secret is `12345678901234567890`.
    let secret = TotpSecret::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").expect("a secret");
    for (now, code) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_234_567_890, "005924"),
        (20_000_000_000, "353130"),
    ] {
        assert_eq!(secret.code(now).as_deref(), Some(code));
    }
    let url = secret.url("lena").expect("a url");
    assert!(url.starts_with("otpauth://totp/pgveil:lena?"), "{url}");
    assert!(!format!("{secret:?}").contains("GEZD"));
}

#[test]
fn a_code_counts_one_step_around_its_own_and_once() {
    let secret = TotpSecret::new().expect("a secret");
    let now = 1_800_000_000;
    let step = STEP as Seconds;
    let code = secret.code(now).expect("a code");
    for (shift, counts) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
        let found = secret.matches(&code, now + shift * step, None);
        assert_eq!(found.is_some(), counts, "{shift}");
    }
    let used = secret.matches(&code, now, None);
    assert_eq!(secret.matches(&code, now, used), None);
    assert_eq!(secret.matches(&format!("+{}", &code[1..]), now, None), None);
}

#[tokio::test]
async fn an_account_with_a_second_factor_needs_it_and_takes_a_code_once() {
    let fixture = Fixture::new("totp");
    fixture.lena().await;
    let secret = TotpSecret::new().expect("a secret");
    let enrol = |code: String| {
        fixture
            .accounts
            .enrol("lena", &secret, Box::leak(code.into()))
    };
    assert!(matches!(
        enrol("000000x".to_owned()).await,
        Err(AccountError::Code)
    ));
    let before = now() - STEP as Seconds;
    enrol(secret.code(before).expect("a code"))
        .await
        .expect("enrolled");
    let login = |code: String| {
        let accounts = fixture.accounts.clone();
        async move { accounts.login("lena", PASSWORD, &code).await }
    };
    assert_eq!(login(String::new()).await, Err(Refused::Code));
    let code = secret.code(now()).expect("a code");
    assert!(login(code.clone()).await.is_ok());
    assert_eq!(login(code).await, Err(Refused::Code));
}

#[tokio::test]
async fn a_token_acts_for_its_account_until_it_is_revoked_or_the_password_changes() {
    let fixture = Fixture::new("token");
    fixture.lena().await;
    let accounts = &fixture.accounts;
    let issued = accounts.issue("lena", "ci", 30).await.expect("issued");
    let found = accounts.bearer(&issued.token).await.expect("read");
    assert_eq!(
        found.map(|identity| identity.person).as_deref(),
        Some("lena")
    );
    assert_eq!(accounts.bearer("pgveil_x").await.expect("read"), None);
    accounts
        .revoke("lena", &issued.line.id)
        .await
        .expect("revoked");
    assert_eq!(accounts.bearer(&issued.token).await.expect("read"), None);

    let issued = accounts.issue("lena", "ci", 30).await.expect("issued");
    let stored = fixture.store.list("token", &[], "", 9, now()).await;
    let stored = format!("{:?}", stored.expect("read"));
    assert!(!stored.contains(&issued.token), "{stored}");
    accounts
        .set_password("lena", "another good password")
        .await
        .expect("set");
    assert_eq!(accounts.bearer(&issued.token).await.expect("read"), None);
    assert!(matches!(
        accounts.issue("lena", "ci", 0).await,
        Err(AccountError::Days)
    ));
}

#[tokio::test]
async fn a_removed_account_is_gone_with_its_tokens() {
    let fixture = Fixture::new("remove");
    let account = fixture.lena().await;
    let accounts = &fixture.accounts;
    let issued = accounts.issue("lena", "ci", 30).await.expect("issued");
    accounts.remove("lena").await.expect("removed");
    let again = fixture.lena().await;
    assert_ne!(again.epoch, account.epoch, "sessions are of the other one");
    assert_eq!(accounts.bearer(&issued.token).await.expect("read"), None);
    assert!(matches!(
        accounts.remove("mallory").await,
        Err(AccountError::Unknown(_))
    ));
    assert_eq!(account.name, "lena");
}

#[tokio::test]
async fn names_groups_and_passwords_that_will_not_do_are_refused() {
    let fixture = Fixture::new("names");
    let accounts = &fixture.accounts;
    let legal = ["legal".to_owned()];
    let mut refused = Vec::new();
    for (name, person, groups, password) in [
        ("a b", "lena", &legal[..], PASSWORD),
        ("lena", "  ", &legal, PASSWORD),
        ("lena", "lena", &["le gal".to_owned()], PASSWORD),
        ("lena", "lena", &legal, "short"),
        ("lena", "lena", &legal, "aaaaaaaaaaaaaaaa"),
    ] {
        let added = accounts.add(name, person, groups, password).await;
        refused.push(added.expect_err("refused").to_string());
    }
    refused.dedup();
    assert_eq!(refused.len(), 5, "{refused:?}");
    fixture.lena().await;
    let again = accounts.add("LENA", "other", &legal, PASSWORD).await;
    assert!(matches!(again, Err(AccountError::Exists(_))));
}
