//! The rules one by one. That no order of events gets around them: [`sequences`].
mod sequences;

use super::*;
use crate::export::fixture::{NOON as NOW, approver, asked};

const WEEK: Seconds = 7 * 24 * 3600;

fn requested() -> Request {
    Request::open("7f3a0001".to_owned(), asked(), None, NOW, NOW + WEEK)
}

fn signed(request: &Request, person: &str, group: &str) -> Request {
    let terms = Terms::default();
    request
        .approve(&approver(person, &[group]), None, &terms, None, NOW)
        .unwrap()
}

fn granted() -> Request {
    signed(&signed(&requested(), "leo", "legal"), "dora", "dpo")
}

fn terms(rows: Option<u64>, clear: &[&str]) -> Terms {
    Terms {
        rows,
        clear: clear.iter().map(|class| (*class).to_owned()).collect(),
    }
}

/// What stands in the way of a signature of `person` for `group`, at once.
fn objection(request: &Request, person: &str, groups: &[&str], group: Option<&str>) -> Objection {
    request
        .approve(
            &approver(person, groups),
            group,
            &Terms::default(),
            None,
            NOW,
        )
        .unwrap_err()
}

#[test]
fn two_people_of_two_groups_make_a_grant_and_it_is_used_up() {
    let request = requested();
    assert_eq!(request.missing(), ["legal", "dpo"]);
    let one = signed(&request, "leo", "legal");
    assert_eq!((one.state, one.missing()), (State::Approved, vec!["dpo"]));
    let both = signed(&one, "dora", "dpo");
    assert_eq!((both.state, both.uses_left), (State::Granted, 2));
    assert_eq!(both.expires, NOW + 3600);
    let once = both.spend(&asked(), NOW + 1).unwrap();
    assert_eq!((once.state, once.uses_left), (State::Granted, 1));
    let twice = once.spend(&asked(), NOW + 2).unwrap();
    assert_eq!((twice.state, twice.uses_left), (State::Used, 0));
    assert_eq!(
        twice.spend(&asked(), NOW + 3),
        Err(Objection::NotGranted(State::Used))
    );
    let actions: Vec<_> = twice
        .history
        .iter()
        .map(|step| step.action.label())
        .collect();
    assert_eq!(actions, ["open", "approve", "approve", "use", "use"]);
}

#[test]
fn nobody_signs_for_who_asked_or_twice_by_another_name_that_is_theirs() {
    let also = |person: &str, also: &str| Approver {
        also: BTreeSet::from([also.to_owned()]),
        ..approver(person, &["legal", "dpo"])
    };
    let sign = |request: &Request, approver: &Approver| {
        request.approve(approver, None, &Terms::default(), None, NOW)
    };
    let request = requested();
    for name in ["ann", "Ａnn", "ann_db", "ANN_DB"] {
        let ann = also("a.smith", name);
        let objected = Objection::Requester("a.smith".to_owned());
        assert_eq!(sign(&request, &ann), Err(objected.clone()), "{name}");
        assert_eq!(request.reject(&ann, None, NOW), Err(objected), "{name}");
    }
    let once = sign(&request, &also("leo", "l.meyer")).unwrap();
    let twice = sign(&once, &also("l.meyer", "Leo"));
    assert_eq!(twice, Err(Objection::SamePerson("l.meyer".to_owned())));
    assert!(sign(&once, &also("dora", "d.k")).is_ok());
}

#[test]
fn who_asked_cannot_sign_under_any_name_or_spelling() {
    for name in [
        "ann",
        "ANN",
        " Ann ",
        "an\u{200b}n",
        "Ａｎｎ",
        "ann_db",
        "ANN_DB",
    ] {
        let expected = Objection::Requester(name.to_owned());
        assert_eq!(
            objection(&requested(), name, &["legal", "dpo"], None),
            expected
        );
        let reject = requested().reject(&approver(name, &["legal"]), None, NOW);
        assert_eq!(reject, Err(expected));
    }
}

#[test]
fn nobody_signs_twice_under_any_spelling() {
    let one = signed(&requested(), "Léo", "legal");
    for name in ["Léo", "LÉO", "le\u{301}o", " léo"] {
        let expected = Objection::SamePerson(name.to_owned());
        assert_eq!(objection(&one, name, &["legal", "dpo"], None), expected);
        assert_eq!(objection(&one, name, &["dpo"], Some("dpo")), expected);
    }
}

#[test]
fn only_members_sign_and_each_group_once() {
    let one = signed(&requested(), "leo", "legal");
    let outside = |groups: &str| Objection::NoGroup {
        person: "eve".to_owned(),
        groups: groups.to_owned(),
    };
    assert_eq!(
        objection(&requested(), "eve", &[], None),
        outside("legal, dpo")
    );
    assert_eq!(
        objection(&requested(), "eve", &["board", "Legal"], None),
        outside("legal, dpo")
    );
    assert_eq!(objection(&one, "eve", &["legal"], None), outside("dpo"));
    assert_eq!(
        objection(&one, "eve", &["legal"], Some("dpo")),
        outside("dpo")
    );
    let done = |group: &str| Objection::GroupDone(group.to_owned());
    assert_eq!(
        objection(&one, "eve", &["legal"], Some("legal")),
        done("legal")
    );
    assert_eq!(
        objection(&one, "eve", &["board"], Some("board")),
        done("board")
    );
    let outsider = requested().reject(&approver("eve", &["board"]), None, NOW);
    assert_eq!(outsider, Err(outside("legal, dpo")));
}

#[test]
fn a_group_that_is_named_twice_signs_once() {
    let mut asked = asked();
    asked.groups = ["legal", "legal", "dpo"].map(str::to_owned).to_vec();
    let request = Request::open("7f3a0002".to_owned(), asked, None, NOW, NOW + WEEK);
    let one = signed(&request, "leo", "legal");
    assert_eq!(one.missing(), ["dpo"]);
    assert_eq!(signed(&one, "dora", "dpo").state, State::Granted);
}

#[test]
fn who_needs_no_group_needs_no_signature_and_gets_no_grant() {
    let mut asked = asked();
    asked.groups = Vec::new();
    let request = Request::open("7f3a0003".to_owned(), asked.clone(), None, NOW, NOW + WEEK);
    assert!(matches!(
        objection(&request, "leo", &["legal"], None),
        Objection::NoGroup { .. }
    ));
    assert_eq!(
        request.spend(&asked, NOW),
        Err(Objection::NotGranted(State::Requested))
    );
}

#[test]
fn terms_stay_within_the_policy() {
    let leo = approver("leo", &["legal"]);
    let sign = |terms| requested().approve(&leo, None, &terms, None, NOW);
    assert_eq!(
        sign(terms(None, &["phone", "birth"])),
        Err(Objection::Clear("birth".to_owned()))
    );
    assert_eq!(sign(terms(Some(0), &[])), Err(Objection::NoRows));
    assert_eq!(
        sign(terms(Some(5001), &[])),
        Err(Objection::Rows {
            rows: 5001,
            max: 5000
        })
    );
    assert!(sign(terms(Some(5000), &["phone", "mail"])).is_ok());
}

#[test]
fn the_most_careful_signature_decides_what_is_granted() {
    let one = requested().approve(
        &approver("leo", &["legal"]),
        None,
        &terms(Some(300), &["phone", "mail"]),
        None,
        NOW,
    );
    let both = one.unwrap().approve(
        &approver("dora", &["dpo"]),
        None,
        &terms(None, &["mail"]),
        None,
        NOW,
    );
    assert_eq!(both.unwrap().granted(), terms(Some(300), &["mail"]));
    assert_eq!(granted().granted(), terms(Some(5000), &[]));
}

#[test]
fn a_grant_holds_for_what_was_asked_and_nothing_else() {
    let others = [
        (
            "person",
            Asked {
                person: "bob".to_owned(),
                ..asked()
            },
        ),
        (
            "role",
            Asked {
                role: "chief".to_owned(),
                ..asked()
            },
        ),
        (
            "database",
            Asked {
                database: "hr".to_owned(),
                ..asked()
            },
        ),
        (
            "statement",
            Asked {
                fingerprint: "beef".to_owned(),
                ..asked()
            },
        ),
        (
            "set of values",
            Asked {
                digest: "d2".to_owned(),
                ..asked()
            },
        ),
        (
            "policy",
            Asked {
                policy_version: "v2".to_owned(),
                ..asked()
            },
        ),
        (
            "purpose",
            Asked {
                purpose: Some("billing".to_owned()),
                ..asked()
            },
        ),
        (
            "place",
            Asked {
                masked_outside: 1,
                ..asked()
            },
        ),
    ];
    for (what, other) in others {
        assert_eq!(granted().spend(&other, NOW), Err(Objection::Other(what)));
    }
    assert_eq!(
        granted().spend(&asked(), NOW + 3600),
        Err(Objection::NotGranted(State::Granted)),
        "not a second longer than it holds"
    );
}

#[test]
fn nothing_is_signed_or_explained_after_its_time_even_before_it_has_lapsed() {
    let late = NOW + WEEK;
    let ended = Err(Objection::Ended(State::Expired));
    let leo = approver("leo", &["legal"]);
    let request = requested();
    assert_eq!(
        request.approve(&leo, None, &Terms::default(), None, late),
        ended
    );
    assert_eq!(request.reject(&leo, None, late), ended);
    assert_eq!(request.withdraw("ann", late), ended);
    assert_eq!(request.explain("ann", "why".to_owned(), late), ended);
    assert_eq!(request.lapse(None, late - 1), None);
    assert_eq!(request.lapse(None, late).unwrap().state, State::Expired);
}

#[test]
fn a_new_policy_voids_what_was_asked_for_under_another() {
    for request in [
        requested(),
        signed(&requested(), "leo", "legal"),
        granted(),
        granted().spend(&asked(), NOW).unwrap(),
    ] {
        assert_eq!(request.lapse(Some("v1"), NOW), None);
        let void = request.lapse(Some("v2"), NOW).unwrap();
        assert_eq!(void.state, State::Void);
        assert_eq!(void.lapse(Some("v3"), NOW), None);
        assert_eq!(
            void.spend(&asked(), NOW),
            Err(Objection::NotGranted(State::Void))
        );
    }
}

#[test]
fn it_can_be_rejected_and_withdrawn_until_its_first_use() {
    let leo = approver("LEO", &["legal"]);
    for request in [requested(), signed(&requested(), "leo", "legal"), granted()] {
        assert_eq!(
            request.reject(&leo, None, NOW).unwrap().state,
            State::Rejected
        );
        assert_eq!(
            request.withdraw("Ann", NOW).unwrap().state,
            State::Withdrawn
        );
    }
    let used = granted().spend(&asked(), NOW).unwrap();
    let ended = Err(Objection::Ended(State::Granted));
    assert_eq!(used.reject(&leo, None, NOW), ended);
    assert_eq!(used.withdraw("ann", NOW), ended);
    let only = Err(Objection::OnlyRequester("ann".to_owned()));
    assert_eq!(requested().withdraw("leo", NOW), only);
    assert_eq!(requested().explain("leo", "so".to_owned(), NOW), only);
    let rejected = requested().reject(&leo, None, NOW).unwrap();
    let ended = Objection::Ended(State::Rejected);
    assert_eq!(rejected.reject(&leo, None, NOW), Err(ended.clone()));
    assert_eq!(rejected.withdraw("ann", NOW), Err(ended));
    assert_eq!(
        objection(&rejected, "dora", &["dpo"], None),
        Objection::NotPending(State::Rejected)
    );
    assert_eq!(
        objection(&granted(), "eve", &["dpo"], None),
        Objection::NotPending(State::Granted)
    );
}

#[test]
fn the_reason_stays_as_it_was_signed() {
    let explained = requested()
        .explain("ANN", " audit of 2026 ".to_owned(), NOW)
        .unwrap();
    assert_eq!(explained.reason.as_deref(), Some("audit of 2026"));
    assert!(explained.has_reason("audit of 2026  "));
    let one = signed(&explained, "leo", "legal");
    assert_eq!(
        one.explain("ann", "something else".to_owned(), NOW),
        Err(Objection::NotPending(State::Approved))
    );
}

#[test]
fn a_reason_that_changes_with_every_statement_does_not_grow_the_history_without_end() {
    let mut request = requested();
    for round in 0..MAX_EXPLAINED {
        request = request
            .explain("ann", format!("reason {round}"), NOW)
            .unwrap();
    }
    assert!(!request.takes_explanations());
    assert_eq!(
        request.explain("ann", "one more".to_owned(), NOW),
        Err(Objection::Explained)
    );
    assert_eq!(
        signed(&request, "leo", "legal").state,
        State::Approved,
        "it can be signed"
    );
}

#[test]
fn words_do_not_steer_a_terminal_or_turn_around_what_stands_behind() {
    let text = "a\u{1b}[2Jb\r\nc\u{202e}d\u{200b}e\u{2066}";
    assert_eq!(words(Some(text.to_owned())).as_deref(), Some("a[2Jb \ncde"));
    assert_eq!(words(Some(" \u{7}\u{200b} ".to_owned())), None);
    let long = words(Some("字".repeat(3 * MAX_WORDS))).unwrap();
    assert_eq!(long.chars().count(), MAX_WORDS);
}

#[test]
fn a_request_is_the_same_after_it_was_stored() {
    let used = granted().spend(&asked(), NOW).unwrap();
    let stored = serde_json::to_string(&used).unwrap();
    assert_eq!(serde_json::from_str::<Request>(&stored).unwrap(), used);
}
