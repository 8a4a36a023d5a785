//! Plans a case and says where the outcome is not the expected one.
use std::sync::Arc;

use super::file::{Case, Expect};
use crate::cli::CliError;
use crate::cli::bench::{Bench, gathered, refusal, verdict};
use crate::sql::plan::Plan;

/// The plan, unless there is nothing to run, and what is wrong with it.
///
/// # Errors
/// The case names a role that the policy does not have.
pub async fn judged(
    bench: &Bench,
    case: &Case,
) -> Result<(Option<Arc<Plan>>, Vec<String>), CliError> {
    let mut wrong = Vec::new();
    let db_user = case.db_user.as_deref();
    let app_user = case.app_user.as_deref();
    let matched = match db_user {
        Some(user) => {
            let caller = case.caller(user, &bench.catalog.database, &bench.policy);
            Some(bench.matched(&caller, app_user)?)
        }
        None => None,
    };
    let role = match (&case.role, matched) {
        (Some(role), None) => Some(role.as_str()),
        (_, Some(None)) => None,
        (named, Some(Some(matched))) => {
            if let Some(named) = named.as_ref().filter(|named| ***named != *matched.name) {
                wrong.push(format!(
                    "the policy gives this session the role `{}`, not `{named}`",
                    matched.name
                ));
            }
            Some(&*matched.name)
        }
        (None, None) => None,
    };
    let expect = &case.expect;
    let Some(role) = role else {
        if expect.verdict != "denied" {
            wrong.push(format!(
                "expected `{}`: the policy gives this session no role and turns it away",
                expect.verdict
            ));
        }
        return Ok((None, wrong));
    };
    // Who is not named is somebody of whom the policy knows nothing.
    let db_user = db_user.unwrap_or(role);
    let app_user = app_user.unwrap_or(db_user);
    let from = Some(case.address);
    let facts = bench.facts(db_user, app_user, from, case.search_path.as_deref());
    let rules = bench.role(role, case.purpose.as_deref(), from)?;
    let plan = bench.plan(rules, &Arc::new(facts), &case.statement).await;
    wrong.extend(compared(&plan, expect));
    let runs = refusal(&plan).is_none();
    Ok((runs.then_some(plan), wrong))
}

fn compared(plan: &Plan, expect: &Expect) -> Vec<String> {
    let mut wrong = Vec::new();
    let found = verdict(plan);
    let refused = refusal(plan);
    if found != expect.verdict {
        let why =
            refused.map(|refusal| format!(" ({}: {})", refusal.reason.label(), refusal.message));
        wrong.push(format!(
            "expected `{}`, found `{found}`{}",
            expect.verdict,
            why.unwrap_or_default()
        ));
    } else if let (Some(expected), Some(refusal)) = (&expect.reason, refused)
        && expected != refusal.reason.label()
    {
        wrong.push(format!(
            "expected the reason `{expected}`, found `{}` ({})",
            refusal.reason.label(),
            refusal.message
        ));
    }
    for (what, expected, found) in [
        (
            "masked",
            &expect.masked,
            gathered(plan, |plan| &plan.masked),
        ),
        (
            "lookups",
            &expect.lookups,
            gathered(plan, |plan| &plan.lookups),
        ),
    ] {
        let Some(expected) = expected else {
            continue;
        };
        let mut found = found;
        found.sort_unstable();
        if found != *expected {
            wrong.push(format!(
                "expected `{what}: [{}]`, found [{}]",
                expected.join(", "),
                found.join(", ")
            ));
        }
    }
    wrong
}
