//! Plans of shapes: what a recipe gives for other literals is, to the byte, what planning that text from scratch gives.
use std::collections::BTreeSet;

use pgveil::sql::plan::{Plan, StatementPlan};
use pgveil::sql::shape::{Recipe, Shape};

use crate::fixture::Fixture;

/// Blocks whose first line is a statement.
const BLOCKS: &[&str] = &[
    include_str!("cases.txt"),
    include_str!("writes.txt"),
    include_str!("rows.txt"),
    include_str!("columns.txt"),
    include_str!("marks.txt"),
];

/// What applications send, with literals where they stand.
const MORE: &[&str] = &[
    "SELECT abalance FROM crm.orders WHERE id = 77123",
    "SELECT id, phone FROM crm.contacts WHERE id = 12 AND region = 'CN' ORDER BY 2 DESC LIMIT 20 OFFSET 40",
    "SELECT c.id, o.total FROM crm.contacts c LEFT JOIN crm.orders o ON o.contact_id = c.id AND o.total > 100 WHERE c.id IN (1, 2, 3)",
    "UPDATE crm.contacts SET phone = '13800138000', region = 'CN' WHERE id = 4 AND name <> 'x'",
    "UPDATE crm.orders SET total = total + -512 WHERE id = 5",
    "UPDATE crm.tickets SET note = 'called', phone = '1' WHERE id BETWEEN 3 AND 9",
    "INSERT INTO crm.tickets (id, owner, phone, note) VALUES (1, 'o''neil', '138', 'n'), (2, 'o''neil', '139', 'm')",
    "INSERT INTO crm.orders (id, contact_id, total) SELECT id, 5, 'x' FROM crm.contacts WHERE phone = '13800138000' RETURNING id",
    "DELETE FROM crm.orders WHERE id = 5 AND contact_id IN (SELECT id FROM crm.contacts WHERE name = 'x')",
    "WITH q AS (SELECT id, phone FROM crm.contacts WHERE region = 'EU') SELECT phone FROM q WHERE id > 7 GROUP BY phone",
    "SELECT phone FROM crm.contacts WHERE phone = '13800138000' OR name = 'é' AND region = '汉字'",
    "SELECT nothing FROM crm.contacts WHERE id = 3",
];

/// In the place of strings: what could end one, name something, or stand in a template.
const STRINGS: &[&str] = &[
    "''",
    "'x'",
    "'it''s'",
    "''''",
    "'$1'",
    "'--'",
    "'/*'",
    "'\\'",
    "'crm.contacts'",
    "'汉字 é'",
    "'o''neil'",
    "'CN'",
    "';SELECT phone FROM crm.contacts;'",
    "'pgveil_refused'",
    "'***'",
    "'{}'",
    "'1'",
];
const INTEGERS: &[&str] = &["0", "1", "2", "3", "007", "42", "999999999", "100", "4"];

fn bare(statement: &StatementPlan) -> StatementPlan {
    StatementPlan {
        span: (0, 0),
        ..statement.clone()
    }
}

fn same(one: &Plan, other: &Plan) -> bool {
    one.text == other.text
        && one.positions == other.positions
        && one.span(0) == other.span(0)
        && one
            .statements
            .iter()
            .map(bare)
            .eq(other.statements.iter().map(bare))
}

/// Texts of the same shape: each gives the literals of a list in turn.
fn variants(shape: &Shape<'_>, lifted: &[bool]) -> BTreeSet<String> {
    let own = shape.complete(shape.key(), lifted);
    (0..STRINGS.len().max(INTEGERS.len()))
        .map(|turn| {
            let marks: Vec<String> = shape
                .literals()
                .enumerate()
                .map(|(index, literal)| {
                    let list = if literal.starts_with('\'') {
                        STRINGS
                    } else {
                        INTEGERS
                    };
                    list[(turn + index) % list.len()].to_owned()
                })
                .collect();
            shape.with(lifted, &marks)
        })
        .filter(|text| {
            // Literals that were equal or different must have stayed so.
            Shape::of(text).is_some_and(|other| other.complete(other.key(), lifted) == own)
        })
        .collect()
}

fn recipes_give_what_planning_gives(fixture: &Fixture) -> (usize, usize) {
    let blocks = BLOCKS.iter().flat_map(|blocks| blocks.split("\n\n"));
    let statements = blocks.filter_map(|block| block.lines().find(|line| !line.starts_with('#')));
    let (mut recipes, mut compared) = (0, 0);
    for text in statements.chain(MORE.iter().copied()) {
        let Some(shape) = Shape::of(text) else {
            continue;
        };
        let own = fixture.plan(text);
        let Some(lifted) = shape.lifted() else {
            continue;
        };
        let Some(recipe) = Recipe::derive(&shape, lifted.clone(), &own, |text| fixture.plan(text))
        else {
            continue;
        };
        recipes += 1;
        for text in variants(&shape, &lifted) {
            let other = Shape::of(&text).expect("the same shape");
            let (made, planned) = (recipe.plan(&other), fixture.plan(&text));
            assert!(
                same(&made, &planned),
                "{text}\nmade {made:#?}\nplanned {planned:#?}"
            );
            compared += 1;
        }
    }
    (recipes, compared)
}

#[test]
fn for_a_restricted_role_a_recipe_gives_what_planning_gives() {
    let (recipes, compared) = recipes_give_what_planning_gives(&Fixture::new());
    println!("{recipes} shapes, {compared} texts");
    assert!(
        recipes >= 50 && compared >= 500,
        "{recipes} shapes, {compared} texts"
    );
}

#[test]
fn for_an_unrestricted_role_a_recipe_gives_what_planning_gives() {
    let mut fixture = Fixture::new();
    fixture.role.unmasked = true;
    let (recipes, compared) = recipes_give_what_planning_gives(&fixture);
    println!("{recipes} shapes, {compared} texts");
    assert!(
        recipes >= 50 && compared >= 500,
        "{recipes} shapes, {compared} texts"
    );
}
