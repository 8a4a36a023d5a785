use jiff::Timestamp;

use super::*;
use crate::policy::directory::Snapshot;

/// A policy from its text, which has no fault.
fn policy(name: &str, text: &str) -> PolicySet {
    let file = std::env::temp_dir().join(format!("pgveil-who-{}-{name}.yaml", std::process::id()));
    std::fs::write(&file, format!("version: 1\ndata: {{}}\n{text}")).expect("written");
    let read = crate::policy::load(&file);
    std::fs::remove_file(&file).expect("removed");
    read.expect("a policy")
}

fn caller(db_user: &str) -> Caller {
    Caller {
        db_user: db_user.to_owned(),
        database: "crm".to_owned(),
        address: [10, 20, 3, 4].into(),
        certificate: None,
        application_name: "psql".to_owned(),
        token: None,
    }
}

fn at(text: &str) -> SystemTime {
    text.parse::<Timestamp>().expect("a time").into()
}

fn role_of(policy: &PolicySet, caller: &Caller, app_user: Option<&str>) -> String {
    let asking = Asking {
        caller,
        app_user,
        now: at("2026-07-01T10:00:00Z"),
    };
    match policy.match_role(asking, &Directory::None) {
        Ok(role) => role.map_or("-", |role| &role.name).to_owned(),
        Err(_) => "?".to_owned(),
    }
}

#[test]
fn all_of_an_entry_has_to_hold_and_the_first_role_from_the_top_is_it() {
    let policy = policy(
        "all",
        r#"roles:
  partner:
    who:
      - { db_user: ann, network: [10.20.0.0/16, "2001:db8::/32"], database: crm }
      - { client_cn: ann, application_name: psql }
      - { client_subject: "CN=root,O=Example" }
    mask: {}
  office: { who: [{ db_user: [ann, bob], network: 10.0.0.0/8 }], mask: {} }
  any: { who: [{ network: 192.168.1.7 }], mask: {} }
unmatched: deny
"#,
    );
    let ann = caller("ann");
    let with = |change: &dyn Fn(&mut Caller)| {
        let mut changed = ann.clone();
        change(&mut changed);
        role_of(&policy, &changed, None)
    };
    let certificate = |subject: &str, name: Option<&str>| {
        Some(Certificate {
            subject: subject.to_owned(),
            common_name: name.map(str::to_owned),
        })
    };
    assert_eq!(with(&|_| {}), "partner");
    assert_eq!(with(&|it| it.database = "hr".to_owned()), "office");
    assert_eq!(with(&|it| it.address = [10, 21, 0, 1].into()), "office");
    assert_eq!(with(&|it| it.address = [11, 0, 0, 1].into()), "-");
    assert_eq!(with(&|it| it.address = [192, 168, 1, 7].into()), "any");
    assert_eq!(with(&|it| it.address = [192, 168, 1, 8].into()), "-");
    // Over an IPv6 socket, and IPv6 itself.
    let mapped = "::ffff:10.20.3.4".parse().expect("an address");
    assert_eq!(with(&|it| it.address = mapped), "partner");
    let six = "2001:db8::1".parse().expect("an address");
    assert_eq!(with(&|it| it.address = six), "partner");
    // A certificate alone, with what narrows it.
    let stranger = |it: &mut Caller| {
        it.db_user = "eve".to_owned();
        it.address = [11, 0, 0, 1].into();
    };
    let shows = |subject: &'static str, name: Option<&'static str>, application: &'static str| {
        with(&|it| {
            stranger(it);
            it.certificate = certificate(subject, name);
            it.application_name = application.to_owned();
        })
    };
    assert_eq!(shows("CN=ann,O=Example", Some("ann"), "psql"), "partner");
    assert_eq!(shows("CN=ann,O=Example", Some("ann"), "other"), "-");
    assert_eq!(shows("CN=ann+CN=root", None, "psql"), "-");
    assert_eq!(shows("CN=root,O=Example", Some("root"), "x"), "partner");
    assert_eq!(shows("CN=root,O=Other", Some("root"), "psql"), "-");
    assert_eq!(with(&stranger), "-");
}

#[test]
fn an_entry_holds_in_its_time() {
    let policy = policy(
        "time",
        r#"roles:
  day: { who: [{ db_user: ann, when: { days: mon-fri, hours: "08:00-18:00", zone: Europe/Berlin } }], mask: {} }
  term: { who: [{ db_user: ann, when: { from: 2026-07-01, until: 2026-07-04 } }], mask: {} }
"#,
    );
    let ann = caller("ann");
    let role = |time: &str| {
        let asking = Asking {
            caller: &ann,
            app_user: None,
            now: at(time),
        };
        let role = policy.match_role(asking, &Directory::None).expect("known");
        role.map_or("-", |role| &*role.name).to_owned()
    };
    assert_eq!(role("2026-06-30T10:00:00Z"), "day");
    assert_eq!(role("2026-06-30T20:00:00Z"), "-");
    assert_eq!(role("2026-07-01T20:00:00Z"), "term");
    assert_eq!(role("2026-07-04T23:59:59Z"), "term");
    assert_eq!(role("2026-07-05T00:00:00Z"), "-");
    let look = policy.next_look(&ann, at("2026-07-04T23:59:10Z"));
    assert_eq!(look, Some(at("2026-07-05T00:00:00Z")));
    assert_eq!(
        policy.next_look(&caller("bob"), at("2026-07-04T23:59:10Z")),
        None
    );
}

const SHARED: &str = r#"groups: { support: [alice, bob], interns: [ivy] }
applications: { crm_app: { comment: app_user } }
roles:
  intern: { who: [{ db_user: crm_app, app_user_in: interns }], mask: {} }
  support: { who: [{ db_user: crm_app, app_user_in: support, network: 10.0.0.0/8 }], mask: {} }
  boss: { who: [{ db_user: crm_app, app_user: [carol] }], mask: {} }
  rest: { who: [{ db_user: crm_app, database: crm }], mask: {} }
"#;

#[test]
fn people_behind_a_shared_user_are_told_by_name_and_group() {
    let policy = policy("people", SHARED);
    let app = caller("crm_app");
    for (user, role) in [
        (Some("ivy"), "intern"),
        (Some("alice"), "support"),
        (Some("carol"), "boss"),
        (Some("nobody"), "rest"),
        (Some("Alice"), "rest"),
        (None, "rest"),
    ] {
        assert_eq!(role_of(&policy, &app, user), role, "{user:?}");
    }
    // Whoever is not trusted to name people names nobody.
    assert_eq!(role_of(&policy, &caller("other"), Some("carol")), "-");
    assert!(policy.could_match(&app) && !policy.could_match(&caller("other")));
}

#[test]
fn a_group_that_cannot_be_known_stops_at_its_entry() {
    let policy = policy("unknown", SHARED);
    let app = caller("crm_app");
    let role = |user, directory: &Directory| {
        let asking = Asking {
            caller: &app,
            app_user: user,
            now: SystemTime::now(),
        };
        let role = policy.match_role(asking, directory);
        role.map(|role| role.map(|role| role.name.to_string()))
    };
    let mut snapshot = Snapshot::default();
    let row = [("login", Some("dave")), ("groups", Some("{interns}"))];
    snapshot.take(row).expect("a row");
    let known = Directory::Known(Arc::new(snapshot));
    assert_eq!(role(Some("dave"), &known), Ok(Some("intern".to_owned())));
    // He might be an intern: nothing below may be his.
    assert_eq!(role(Some("dave"), &Directory::Unknown), Err(Unknown));
    assert_eq!(
        role(Some("ivy"), &Directory::Unknown),
        Ok(Some("intern".to_owned()))
    );
    assert_eq!(role(None, &Directory::Unknown), Ok(Some("rest".to_owned())));
}

#[test]
fn a_token_counts_for_the_user_and_of_the_issuer_that_the_policy_names() {
    let policy = policy(
        "token",
        r#"groups: { audit: [carol] }
applications: { staff: { token: corp } }
people: { dave: { office: south } }
roles:
  audit: { who: [{ db_user: staff, app_user_in: audit }], mask: {} }
  support: { who: [{ db_user: staff, app_user_in: [support, help] }], mask: {} }
  dave: { who: [{ db_user: staff, app_user: dave }], mask: {} }
  rest: { who: [{ network: 10.0.0.0/8 }], mask: {} }
unmatched: rest
"#,
    );
    let token = |issuer: &str, person: &str, groups: Option<&[&str]>| {
        let groups = groups.map(|groups| groups.iter().map(|group| (*group).to_owned()).collect());
        Some(Arc::new(Token {
            issuer: issuer.into(),
            person: person.into(),
            groups,
            attributes: BTreeMap::from([("office".into(), "north".to_owned())]),
            until: Some(at("2026-07-01T10:00:01Z")),
        }))
    };
    let by = |db_user: &str, token: Option<Arc<Token>>| Caller {
        token,
        ..caller(db_user)
    };
    let role = |caller: &Caller| role_of(&policy, caller, None);
    assert_eq!(
        role(&by("staff", token("corp", "ann", Some(&["help"])))),
        "support"
    );
    assert_eq!(
        role(&by("staff", token("corp", "carol", Some(&[])))),
        "audit"
    );
    assert_eq!(role(&by("staff", token("corp", "dave", Some(&[])))), "dave");
    assert_eq!(
        role(&by("staff", token("corp", "eve", Some(&["Support"])))),
        "rest"
    );
    // What a statement claims is no match for who has logged in.
    let eve = by("staff", token("corp", "eve", Some(&[])));
    assert_eq!(role_of(&policy, &eve, Some("carol")), "rest");
    // Of another issuer, without one, or for a user of which the policy does not say so: nobody, whatever `unmatched` says.
    assert_eq!(
        role(&by("staff", token("other", "carol", Some(&["audit"])))),
        "-"
    );
    assert_eq!(role(&by("staff", None)), "-");
    assert_eq!(
        role(&by("ann", token("corp", "carol", Some(&["audit"])))),
        "-"
    );
    assert!(!policy.could_match(&by("staff", None)));
    // Groups that are not known are not guessed, where they matter.
    assert_eq!(role(&by("staff", token("corp", "carol", None))), "audit");
    assert_eq!(role(&by("staff", token("corp", "dave", None))), "?");
    // It is over at its end, and that is when to look again.
    let dave = by("staff", token("corp", "dave", Some(&[])));
    let asking = |now: &str| Asking {
        caller: &dave,
        app_user: None,
        now: at(now),
    };
    let role = policy.match_role(asking("2026-07-01T10:00:01Z"), &Directory::None);
    assert!(role.expect("known").is_none());
    assert_eq!(
        policy.next_look(&dave, at("2026-07-01T10:00:00Z")),
        Some(at("2026-07-01T10:00:01Z"))
    );
    assert_eq!(policy.bearer(&dave), "dave");
    assert_eq!(policy.bearer(&caller("ann")), "ann");
    // The policy's own word on a person stands before the token's.
    let office = crate::policy::SessionValue::Attribute("office".into());
    let of = |caller: &Caller| {
        let person = policy.bearer(caller);
        let token = caller.token.as_deref();
        let values = policy.session_values("staff", person, token, &Directory::None, None);
        values.get(&office).cloned()
    };
    assert_eq!(of(&dave).as_deref(), Some("south"));
    assert_eq!(of(&eve).as_deref(), Some("north"));
}
