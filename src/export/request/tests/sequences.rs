//! Whatever happens in whatever order: the invariants of a request, checked by a model that knows people by number and
//! not by name.
use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use super::*;

const GROUPS: [&str; 3] = ["legal", "dpo", "board"];
const CLASSES: [&str; 3] = ["phone", "mail", "birth"];

/// Everybody under all of their names. The first asks, and has a login by another name.
const PEOPLE: [&[&str]; 5] = [
    &[
        "ann",
        "ANN",
        " ann",
        "ａｎｎ",
        "an\u{200b}n",
        "ann_db",
        "Ann_DB",
    ],
    &["léo", "LÉO", "le\u{301}o", "léo "],
    &["dora", "Dora", "DO\u{ad}RA"],
    &["王伟", " 王伟", "王\u{200d}伟"],
    &["eve", "Eve"],
];

#[derive(Debug, Clone)]
struct Person {
    number: usize,
    name: &'static str,
    groups: Vec<&'static str>,
}

impl Person {
    fn approver(&self) -> Approver {
        approver(self.name, &self.groups)
    }
}

#[derive(Debug, Clone)]
enum Event {
    Approve(Person, Option<&'static str>, Terms),
    Reject(Person),
    Withdraw(Person),
    Explain(Person),
    /// What is run, by its number in [`statement`].
    Spend(usize),
    Lapse(Option<&'static str>),
    Wait(Seconds),
}

fn person() -> impl Strategy<Value = Person> {
    (0..PEOPLE.len()).prop_flat_map(|number| {
        let names = select(PEOPLE[number]);
        (names, subsequence(GROUPS.to_vec(), 0..=3)).prop_map(move |(name, groups)| Person {
            number,
            name,
            groups,
        })
    })
}

fn some_terms() -> impl Strategy<Value = Terms> {
    let rows = prop_oneof![
        3 => Just(None),
        3 => (1..=5000_u64).prop_map(Some),
        1 => select(vec![0, 5001, u64::MAX]).prop_map(Some),
    ];
    // Mostly what the policy lets be granted.
    let clear = prop_oneof![
        5 => subsequence(CLASSES[..2].to_vec(), 0..=2),
        1 => subsequence(CLASSES.to_vec(), 0..=3),
    ];
    (rows, clear).prop_map(|(rows, clear)| terms(rows, &clear))
}

fn event() -> impl Strategy<Value = Event> {
    let group = prop_oneof![2 => Just(None), 1 => select(GROUPS.to_vec()).prop_map(Some)];
    prop_oneof![
        10 => (person(), group, some_terms()).prop_map(|(person, group, terms)| Event::Approve(person, group, terms)),
        1 => person().prop_map(Event::Reject),
        1 => person().prop_map(Event::Withdraw),
        1 => person().prop_map(Event::Explain),
        8 => prop_oneof![5 => Just(0_usize), 2 => 1..9_usize].prop_map(Event::Spend),
        1 => prop_oneof![1 => Just(None), 4 => Just(Some("v1")), 1 => Just(Some("v2"))].prop_map(Event::Lapse),
        4 => prop_oneof![5 => 0..600_i64, 1 => 0..2 * WEEK].prop_map(Event::Wait),
    ]
}

fn statement(number: usize, asked: &Asked) -> Asked {
    let mut other = asked.clone();
    match number {
        1 => other.person = "bob".to_owned(),
        2 => other.role = "chief".to_owned(),
        3 => other.database = "hr".to_owned(),
        4 => other.fingerprint = "beef".to_owned(),
        5 => other.digest = "d2".to_owned(),
        6 => other.policy_version = "v2".to_owned(),
        7 => other.purpose = Some("billing".to_owned()),
        8 => other.masked_outside = 1,
        _ => {}
    }
    other
}

/// What has been accepted, as the model counts it.
#[derive(Debug, Default)]
struct Model {
    /// Who signed for which group, and on which terms.
    signed: Vec<(usize, String, Terms)>,
    uses: u32,
    granted_at: Option<Seconds>,
    ended: bool,
}

fn play(groups: &[&'static str], uses: u32, events: &[Event], seen: &mut BTreeMap<State, usize>) {
    let asked = Asked {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        uses,
        ..asked()
    };
    let needed: BTreeSet<&str> = groups.iter().copied().collect();
    let mut now = NOW;
    let opened = Request::open("7f3a0001".to_owned(), asked.clone(), None, now, now + WEEK);
    let mut request = opened;
    let mut model = Model::default();
    for event in events {
        let before = request.clone();
        let next = match event {
            Event::Approve(person, group, terms) => {
                request.approve(&person.approver(), *group, terms, None, now)
            }
            Event::Reject(person) => request.reject(&person.approver(), None, now),
            Event::Withdraw(person) => request.withdraw(person.name, now),
            Event::Explain(person) => request.explain(person.name, "so".to_owned(), now),
            Event::Spend(number) => request.spend(&statement(*number, &asked), now),
            Event::Lapse(version) => match request.lapse(*version, now) {
                Some(next) => Ok(next),
                None => continue,
            },
            Event::Wait(seconds) => {
                now += seconds;
                continue;
            }
        };
        let Ok(next) = next else { continue };
        assert!(
            !model.ended,
            "changed after its end by {event:?}: {before:?}"
        );
        assert_eq!(next.asked, before.asked);
        assert_eq!(next.history.len(), before.history.len() + 1);
        assert_eq!(next.history[..before.history.len()], before.history[..]);
        assert_eq!(next.history.last().map(|step| step.state), Some(next.state));
        request = next;
        match event {
            Event::Approve(person, _, terms) => {
                assert_ne!(person.number, 0, "signed by who asked");
                assert!(now < before.expires, "signed after its time");
                let group = request.history.last().and_then(|step| step.group.clone());
                let group = group.expect("a signature is for a group");
                assert!(person.groups.contains(&group.as_str()));
                model.signed.push((person.number, group, terms.clone()));
            }
            Event::Reject(person) => {
                assert_ne!(person.number, 0);
                assert!(person.groups.iter().any(|group| needed.contains(group)));
                assert_eq!(model.uses, 0, "rejected after its use");
            }
            Event::Withdraw(person) => {
                assert_eq!(person.number, 0);
                assert_eq!(model.uses, 0, "withdrawn after its use");
            }
            Event::Explain(person) => {
                assert_eq!(person.number, 0);
                assert!(
                    model.signed.is_empty(),
                    "the reason was changed under a signature"
                );
            }
            Event::Spend(number) => {
                model.uses += 1;
                assert_eq!(*number, 0, "used for something else");
                let granted_at = model.granted_at.expect("used without a grant");
                assert!(now < granted_at + asked.holds, "used after its time");
                assert!(model.uses <= uses, "used too often");
            }
            Event::Lapse(version) => {
                let void = version.is_some_and(|version| version != asked.policy_version);
                assert!(void || now >= before.expires, "lapsed for no reason");
            }
            Event::Wait(_) => {}
        }
        check(&request, &model, &needed);
        if request.state == State::Granted && model.granted_at.is_none() {
            model.granted_at = Some(now);
        }
        model.ended = request.state.has_ended();
        *seen.entry(request.state).or_default() += 1;
    }
}

fn check(request: &Request, model: &Model, needed: &BTreeSet<&str>) {
    let people: BTreeSet<usize> = model.signed.iter().map(|(person, ..)| *person).collect();
    let groups: BTreeSet<&str> = model
        .signed
        .iter()
        .map(|(_, group, _)| group.as_str())
        .collect();
    assert_eq!(people.len(), model.signed.len(), "somebody signed twice");
    assert_eq!(groups.len(), model.signed.len(), "a group signed twice");
    if matches!(request.state, State::Granted | State::Used) {
        assert_eq!(&groups, needed, "granted without a group");
        assert!(people.len() >= needed.len() && !people.contains(&0));
    }
    let granted = request.granted();
    let rows = granted.rows.expect("a grant has a ceiling");
    assert!(rows <= request.asked.max_rows);
    for (_, _, terms) in &model.signed {
        assert!(terms.rows.is_none_or(|allowed| rows <= allowed));
        assert!(granted.clear.is_subset(&terms.clear));
    }
    assert!(
        granted
            .clear
            .iter()
            .all(|class| request.asked.may_unmask.contains(class))
    );
}

#[test]
fn no_sequence_of_events_gets_around_the_signatures() {
    let seen = RefCell::new(BTreeMap::new());
    let strategy = (
        proptest::collection::vec(select(GROUPS.to_vec()), 1..=4),
        1..4_u32,
        proptest::collection::vec(event(), 1..60),
    );
    let config = Config {
        // One in thirty gets to the rarest state.
        cases: 8192,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&strategy, |(groups, uses, events)| {
            play(&groups, uses, &events, &mut seen.borrow_mut());
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    // Sequences that never get to a grant would prove nothing.
    for state in State::ALL {
        let count = seen.borrow().get(&state).copied().unwrap_or(0);
        assert!(count > 100, "{state} was reached {count} times only");
    }
}
