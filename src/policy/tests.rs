use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::config::Diagnostics;

fn policy() -> PolicySet {
    let person = |name: &str, region: &str| Person {
        name: name.into(),
        attributes: BTreeMap::from([("region".into(), region.into())]),
    };
    PolicySet {
        version: String::new(),
        content: Default::default(),
        classes: vec![],
        roles: vec![],
        unmatched: Unmatched::Deny,
        people: vec![person("ann", "east"), person("crm_app", "everywhere")],
        named: Default::default(),
        groups: Default::default(),
        applications: Default::default(),
        token_users: Default::default(),
        directory: None,
        regions: vec![],
        server_names: vec![],
        traps: None,
        warnings: Diagnostics::default(),
    }
}

#[test]
fn a_session_has_the_attributes_of_its_person_and_of_nobody_else() {
    let policy = policy();
    let region = SessionValue::Attribute("region".into());
    let values = policy.session_values("crm_app", "ann", None, &Directory::None, None);
    assert_eq!(values[&SessionValue::AppUser], "ann");
    assert_eq!(values[&SessionValue::DbUser], "crm_app");
    assert_eq!(values[&region], "east");
    let stranger = policy.session_values("crm_app", "bob", None, &Directory::None, None);
    assert_eq!(stranger.get(&region), None);
    let names: BTreeSet<_> = stranger.into_keys().collect();
    assert_eq!(names, [SessionValue::AppUser, SessionValue::DbUser].into());
    assert_eq!(policy.attribute("ann", "region"), Some("east"));
    assert_eq!(policy.attribute("ann", "desk"), None);
}

#[test]
fn the_person_behind_a_database_user_lends_it_attributes_and_not_the_name() {
    let mut policy = policy();
    let users = Person::DB_USERS.into();
    let named = policy.people.iter_mut().find(|known| known.name == "ann");
    let ann = named.expect("ann");
    ann.attributes
        .insert(users, "crm_ann, crm_ann_mobile".into());
    let region = SessionValue::Attribute("region".into());
    for user in ["crm_ann", "crm_ann_mobile"] {
        let values = policy.session_values(user, user, None, &Directory::None, None);
        assert_eq!(values[&SessionValue::AppUser], user);
        assert_eq!(values[&region], "east");
    }
    // Nor is who is spelt otherwise: rights go by names to the letter.
    let spelt = policy.session_values("crm_app", "Ann", None, &Directory::None, None);
    assert_eq!(spelt.get(&region), None);
    // Whom an application names is not looked for behind its database user.
    let named = policy.session_values("crm_ann", "bob", None, &Directory::None, None);
    assert_eq!(named.get(&region), None);
}

#[test]
fn a_person_is_one_by_every_name_and_spelling() {
    let mut policy = policy();
    let ann = policy.people.first_mut().expect("ann");
    ann.attributes
        .insert(Person::DB_USERS.into(), "crm_ann, crm_ann_mobile".into());
    ann.attributes
        .insert(Person::APP_USERS.into(), "a.smith".into());
    for name in [
        "ann",
        "ANN ",
        "crm_ann",
        "Crm_Ann_Mobile",
        "a.smith",
        "Ａ.Smith",
    ] {
        assert_eq!(policy.person_named(name), "ann", "{name}");
    }
    for name in ["bob", "a", "a.smith, crm_ann", ""] {
        assert_eq!(policy.person_named(name), name);
    }
    let names = ["a.smith", "ann", "crm_ann", "crm_ann_mobile"];
    assert_eq!(
        policy.names_of("ann"),
        BTreeSet::from(names.map(str::to_owned))
    );
    assert_eq!(policy.names_of("bob"), BTreeSet::new());
    // What `people` says of her holds by the name that an application gives her.
    let region = SessionValue::Attribute("region".into());
    let values = policy.session_values("crm_app", "a.smith", None, &Directory::None, None);
    assert_eq!(values[&region], "east");
    assert_eq!(values[&SessionValue::AppUser], "a.smith");
    // A database user by itself is not one of an application's.
    let values = policy.session_values("crm_app", "crm_ann", None, &Directory::None, None);
    assert_eq!(values.get(&region), None);
}
