//! Roles whose rules are on trial (`enforce: false`): a text runs as it is, and its plan says besides what would have been
//! decided about it.
use std::sync::Arc;

use super::plan::{Effect, Plan, PositionMap, Refusal, StatementPlan, Verdict, Would};

/// The plan that was observed, with what would have been decided by the one that was judged.
pub(super) fn besides(observed: Plan, judged: &Plan) -> Plan {
    let whole = judged.statements.iter().find_map(refusal);
    let alike = observed.statements.len() == judged.statements.len();
    let statements = observed.statements.iter().enumerate().map(|(index, plan)| {
        match judged.statements.get(index).filter(|_| alike) {
            Some(judged) => on_trial(plan, judged),
            // The text was refused before its statements were told apart.
            None => StatementPlan {
                would: whole.map(|refusal| Box::new(Would::refuse(refusal))),
                ..plan.clone()
            },
        }
    });
    Plan::new(statements.collect(), None, PositionMap::default())
}

fn on_trial(observed: &StatementPlan, judged: &StatementPlan) -> StatementPlan {
    let would = match refusal(judged) {
        Some(refusal) => Would {
            masked: judged.masked.clone(),
            ..Would::refuse(refusal)
        },
        None => Would {
            verdict: judged.verdict.clone(),
            masked: judged.masked.clone(),
            lookups: judged.lookups.clone(),
        },
    };
    let refused = refusal(judged).is_some();
    StatementPlan {
        would: Some(Box::new(would)),
        // What would have been refused runs, and may have changed what names mean.
        effects: match refused {
            true => [&observed.effects[..], &[Effect::SettingsChanged]].concat(),
            false => judged.effects.clone(),
        },
        protected: observed.protected || judged.protected,
        packed: judged.packed.clone(),
        columns: Arc::clone(&observed.columns),
        ..observed.clone()
    }
}

fn refusal(plan: &StatementPlan) -> Option<&Refusal> {
    match &plan.verdict {
        Verdict::Refuse(refusal) => Some(refusal),
        Verdict::Pass | Verdict::Rewrite => None,
    }
}
