//! The checker has to fire: what would run is spoiled in every way in which a rewriter or judge could fail.
use pgveil::sql::names::{qualified, quoted};
use pgveil::sql::plan::Verdict;

use crate::stand::{Kind, Stand};
use crate::{attacked, deep, named, names, server, sources};

/// What a spoiled text is called, and the text.
struct Spoiled {
    how: &'static str,
    text: String,
}

/// A text that would run, spoiled at each place where it can be: a template becomes the relation, a mask the column.
fn spoiled(stand: &Stand, run: &str) -> Vec<Spoiled> {
    let mut all = Vec::new();
    for guard in stand.guards.relations.values() {
        let Some(relation) = stand.catalog.relations.get(&guard.relation) else {
            continue;
        };
        if relation.schema == "pg_catalog" || guard.secret.is_empty() {
            continue;
        }
        let from = format!(" FROM {})", qualified(&relation.schema, &relation.name));
        if let Some(end) = run.find(&from)
            && let Some(begin) = run[..end].rfind("(SELECT ")
        {
            let mut text = run.to_owned();
            text.replace_range(
                begin..end + from.len(),
                &qualified(&relation.schema, &relation.name),
            );
            all.push(Spoiled {
                how: "a template became the relation",
                text,
            });
        }
        for column in &relation.columns {
            let Some(mask) = stand.role.mask(relation.oid, column.num) else {
                continue;
            };
            if !mask.sql.names_column() {
                continue;
            }
            let name = quoted(&column.name);
            let own = format!("{} AS {name}", mask.sql.over("", &column.name));
            if run.contains(&own) {
                all.push(Spoiled {
                    how: "a mask of a template became the column",
                    text: run.replacen(&own, &format!("{name} AS {name}"), 1),
                });
            }
            for row in [relation.name.as_str(), "c", "w", "p", "o"] {
                let own = mask.sql.over(&quoted(row), &column.name);
                if run.contains(&own) {
                    all.push(Spoiled {
                        how: "a mask of a target became the column",
                        text: run.replacen(&own, &format!("{}.{name}", quoted(row)), 1),
                    });
                }
            }
        }
    }
    all
}

#[test]
fn what_is_spoiled_is_found() {
    deep(|| {
        let server = server();
        let stand = attacked(&server);
        let mut line = stand.line();
        line.look_in(stand.path);
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for text in sources::attacks(server.major()) {
            for text in stand.statements(&text, stand.path) {
                let plan = stand.plan(&text, stand.path);
                let [statement] = &plan.statements[..] else {
                    continue;
                };
                let Some(run) = plan
                    .text
                    .as_deref()
                    .filter(|_| statement.verdict == Verdict::Rewrite)
                else {
                    continue;
                };
                if crate::utility::within(run).is_some()
                    || stand.leaks(&mut line, run) != Some(false)
                {
                    continue;
                }
                // Some of each: there are thousands.
                let all = spoiled(&stand, run);
                let step = all.len() / 3 + 1;
                for Spoiled { how, text } in all.into_iter().step_by(step) {
                    match stand.leaks(&mut line, &text) {
                        Some(true) => *counts.entry(how).or_default() += 1,
                        Some(false) => panic!("{how}, and nothing was found: {text}"),
                        None => {}
                    }
                }
            }
        }
        println!("{counts:?}");
        assert_eq!(counts.len(), 3, "{counts:?}");
        assert!(counts.values().all(|count| *count >= 20), "{counts:?}");
    });
}

/// What ran before it was found that the server reads these texts otherwise (tests/attacks W51 to W53 and their like).
#[test]
fn leaks_of_old_are_found() {
    deep(|| {
        let server = server();
        let stand = attacked(&server);
        let mut line = stand.line();
        line.look_in(stand.path);
        let mut old = vec![
            // A star with a schema leads past an alias of its name.
            "UPDATE \"crm\".\"customers\" SET region = (SELECT phone FROM (SELECT crm.orders.* FROM (VALUES ('x')) AS orders(phone)) s \
             LIMIT 1) FROM \"crm\".\"orders\" WHERE crm.orders.customer_id = customers.id RETURNING region",
            // A reference with a schema does, too.
            "UPDATE \"crm\".\"customers\" SET region = (SELECT crm.customers.phone FROM (VALUES ('x')) AS customers(phone))",
            // The whole row of the target behind the name of a column that is not there.
            "UPDATE \"crm\".\"customers\" AS \"?column?\" SET region = (SELECT \"?column?\"::text FROM (SELECT 1 AS x) s) RETURNING region",
            "UPDATE \"crm\".\"customers\" c SET region = c.phone",
            "DELETE FROM \"crm\".\"customers\" RETURNING customers",
            "WITH d AS (DELETE FROM \"crm\".\"customers\" RETURNING phone) SELECT 1",
            "INSERT INTO \"crm\".\"customers\" (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET region = customers.phone",
            "INSERT INTO \"crm\".\"customers\" (id) VALUES (1) ON CONFLICT (phone) DO NOTHING",
            "UPDATE \"crm\".\"customers\" SET email = phone",
            "UPDATE \"crm\".\"customers\" SET (region, phone) = (SELECT o.memo, email FROM \"crm\".\"orders\" o)",
            "UPDATE \"crm\".\"customers\" SET phone = CASE WHEN phone LIKE '138%' THEN phone ELSE 'x' END",
            "SELECT 1 FROM \"crm\".\"customers\"",
        ];
        if server.major() < 15 {
            old.push(
                "UPDATE \"crm\".\"customers\" AS \"?column?\" SET region = (SELECT \"?column?\"::text FROM (SELECT true) s) RETURNING region",
            );
        }
        let blind: Vec<&str> = old
            .into_iter()
            .filter(|text| stand.leaks(&mut line, text) != Some(true))
            .collect();
        // Called `bool` before version 15, `?column?` since: then it is no row.
        assert_eq!(blind, Vec::<&str>::new());
    });
}

/// Row rules and lookups.
#[test]
fn rows_and_lookups_that_go_too_far_are_found() {
    deep(|| {
        let server = server();
        let stand = named(&server);
        let mut line = stand.line();
        line.look_in(names::PATHS[0]);
        let path = names::PATHS[0];
        let ran = |text: &str| {
            let plan = stand.plan(text, path);
            plan.text
                .as_deref()
                .unwrap_or_else(|| panic!("{text} is rewritten"))
                .to_owned()
        };
        let looked_up = "\"phone\" OPERATOR(pg_catalog.=) '1'";
        let rule = "OPERATOR(pg_catalog.=) 'o''neil'";
        for (text, from, to) in [
            ("SELECT note FROM crm.tickets", rule, "IS NOT NULL"),
            (
                "SELECT note FROM crm.tickets WHERE phone = '1'",
                looked_up,
                "\"phone\" OPERATOR(pg_catalog.>) '1'",
            ),
            (
                "SELECT note FROM crm.tickets WHERE phone = '1'",
                looked_up,
                "\"phone\" OPERATOR(pg_catalog.=) \"note\"",
            ),
            (
                "UPDATE crm.tickets SET note = 'x' WHERE id = 1",
                rule,
                "IS NOT NULL",
            ),
            ("DELETE FROM crm.teams WHERE id = 1", rule, "IS NOT NULL"),
        ] {
            let run = ran(text);
            assert_eq!(stand.leaks(&mut line, &run), Some(false), "{run}");
            assert!(run.contains(from), "{from} is not in {run}");
            let spoiled = run.replace(from, to);
            assert_eq!(stand.leaks(&mut line, &spoiled), Some(true), "{spoiled}");
        }
    });
}

/// That a name means something else in what runs is found where no secret shows.
#[test]
fn another_meaning_is_found() {
    deep(|| {
        let server = server();
        let stand = attacked(&server);
        let mut line = stand.line();
        line.look_in(stand.path);
        for (client, run) in [
            (
                "SELECT o.id FROM crm.orders o, crm.floors f",
                "SELECT f.v FROM crm.orders o, crm.floors f",
            ),
            ("SELECT id FROM crm.orders", "SELECT id FROM public.secret"),
            (
                "SELECT memo FROM crm.orders o, (SELECT memo AS m FROM crm.orders) s",
                "SELECT m FROM crm.orders o, (SELECT memo AS m FROM crm.orders) s",
            ),
            (
                "SELECT id FROM crm.orders WHERE id = 1",
                "SELECT id FROM crm.orders WHERE id = 2",
            ),
            (
                "SELECT (SELECT id) FROM crm.orders",
                "SELECT (SELECT id FROM crm.plans LIMIT 1) FROM crm.orders",
            ),
        ] {
            let same = stand.hold(&mut line, client, client);
            assert!(same.findings.is_empty(), "{same:?}");
            let judged = stand.hold(&mut line, client, run);
            assert!(
                judged
                    .findings
                    .iter()
                    .any(|found| found.kind == Kind::Differs),
                "{run}: {judged:?}"
            );
        }
    });
}
