//! What the planner keeps: within its bound, and nothing of a policy that is no longer in force.
use std::sync::Arc;

use pgveil::policy::compiled::SessionValue;
use pgveil::sql::Planner;
use pgveil::sql::plan::{SessionFacts, Verdict};
use pgveil::sql::template::SessionValues;

use crate::fixture::Fixture;

const TEXTS: &[&str] = &[
    "SELECT id, phone FROM crm.contacts WHERE id = 1",
    "SELECT id, phone FROM crm.contacts WHERE id = 2",
    "SELECT id, phone FROM crm.contacts WHERE id = 3",
    "SELECT phone, note FROM crm.tickets",
    "UPDATE crm.tickets SET note = 'called' WHERE id = 9",
];

fn facts(person: &str) -> Arc<SessionFacts> {
    Arc::new(SessionFacts {
        values: SessionValues::from([(SessionValue::AppUser, person.to_owned())]).into(),
        search_path: "crm, public".into(),
        user: "agent".into(),
        ..SessionFacts::default()
    })
}

/// Plans all texts under so many versions of the role, each followed by `then`.
async fn policies(planner: &Planner, versions: u64, then: impl Fn(&Planner)) {
    let fixture = Fixture::new();
    let (catalog, mut role) = (Arc::new(fixture.catalog), fixture.role);
    for version in 0..versions {
        role.version = 1 + version;
        let role = Arc::new(role.clone());
        for text in TEXTS {
            let plan = planner
                .plan((*text).into(), &catalog, &role, facts("alice"))
                .await;
            assert!(matches!(plan.statements[0].verdict, Verdict::Rewrite));
        }
        then(planner);
    }
    // One thread works in order: what came before is done.
    let role = Arc::new(role);
    planner
        .plan("SELECT 1".into(), &catalog, &role, facts("alice"))
        .await;
}

#[tokio::test]
async fn after_many_changes_of_policy_as_much_is_kept_as_after_one() {
    let kept = async |versions| {
        let planner = Planner::new(64 << 20, 1).unwrap();
        policies(&planner, versions, Planner::forget).await;
        planner.stats()
    };
    let (one, many) = (kept(1).await, kept(50).await);
    assert_eq!(one.plans, 1, "the last statement");
    assert_eq!(one.plans, many.plans);
    // That the shape of the last text was seen may be noted before the rest is given back, and goes with it then.
    assert!(one.bytes.abs_diff(many.bytes) < 512, "{one:?} and {many:?}");
    let planner = Planner::new(64 << 20, 1).unwrap();
    policies(&planner, 50, |_| ()).await;
    assert!(
        planner.stats().bytes > 20 * many.bytes,
        "without forgetting all of it stays"
    );
}

#[tokio::test]
async fn plans_shapes_and_templates_together_stay_within_the_bound() {
    const MOST: u64 = 1 << 20;
    let planner = Planner::new(MOST, 1).unwrap();
    policies(&planner, 300, |planner| {
        assert!(planner.stats().bytes <= MOST)
    })
    .await;
    assert!(planner.stats().bytes > MOST / 2, "it was filled");
}

#[test]
fn templates_of_many_people_stay_within_their_bound() {
    const MOST: u64 = 1 << 20;
    let fixture = Fixture::new();
    let templates = pgveil::sql::template::Templates::new(MOST);
    let tickets = fixture.catalog.relation("crm", "tickets").unwrap();
    for person in 0..2_000 {
        let values = SessionValues::from([(SessionValue::AppUser, format!("person {person}"))]);
        let made = templates.get(1, &fixture.role, &values, tickets, false);
        let end = made.unwrap().end(&[], false);
        assert!(end.contains(&format!("person {person}")), "{end}");
        assert!(templates.size() <= MOST);
    }
    assert!(templates.size() > MOST / 2, "it was filled");
    templates.forget();
    assert_eq!(templates.size(), 0);
}
