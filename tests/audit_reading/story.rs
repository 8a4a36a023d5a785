//! A spool as a company's months would leave it, made up: the same for the same seed.
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgveil::audit::{
    AlarmRecord, ColumnsRecord, Event, ExportRecord, Record, Signature, Spool, SpoolSettings,
    VerdictRecord,
};

/// 2026-11-01, a Sunday.
pub const START: u64 = 1_793_491_200;

/// Numbers that look random and are the same every time (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Person, database user, role, application, days' share.
const PEOPLE: [(&str, &str, &str, &str, u64); 9] = [
    ("wang.fang", "crm_agent", "agent", "CRM web", 24),
    ("li.wei", "crm_agent", "agent", "CRM web", 20),
    ("zhang.min", "crm_agent", "agent", "CRM web", 18),
    ("chen.jie", "crm_agent", "agent", "Call centre", 14),
    ("liu.yang", "crm_finance", "finance", "Metabase", 9),
    ("zhao.lei", "crm_finance", "finance", "Excel (ODBC)", 5),
    ("sun.hao", "crm_dpo", "dpo", "psql", 2),
    ("etl", "crm_etl", "pipeline", "Airflow", 7),
    ("zhou.xin", "crm_agent", "agent", "DBeaver 24.2", 3),
];

/// Relation, masked columns, class.
const DATA: [(&str, &str, u64); 8] = [
    ("crm.contacts", "crm.contacts.phone", 30),
    ("crm.contacts", "crm.contacts.email", 16),
    ("crm.leads", "crm.leads.mobile_phone", 12),
    ("crm.tickets", "crm.tickets.callback_phone", 10),
    ("crm.opportunities", "crm.opportunities.amount", 14),
    ("crm.contacts", "crm.contacts.id_card", 4),
    ("hr.employees", "hr.employees.salary", 3),
    ("crm.activities", "crm.activities.dialled_phone", 8),
];

pub const POLICY: &str = "version: 1
data:
  phone: { level: 3, columns: [crm.contacts.phone, \"crm.leads.*phone*\", crm.tickets.callback_phone, crm.activities.dialled_phone] }
  email: { level: 3, columns: [crm.contacts.email] }
  id_card: { level: 4, columns: [crm.contacts.id_card] }
  amount: { level: 2, columns: [crm.opportunities.amount] }
  salary: { level: 4, columns: [hr.employees.salary] }
roles:
  dpo: { who: [{ db_user: crm_dpo }], unmasked: true }
";

fn pick<'a, T>(dice: &mut Dice, from: &'a [T], weight: impl Fn(&T) -> u64) -> &'a T {
    let total: u64 = from.iter().map(&weight).sum();
    let mut left = dice.below(total);
    from.iter()
        .find(|item| {
            let found = left < weight(item);
            left = left.saturating_sub(weight(item));
            found
        })
        .expect("one of them")
}

/// Writes so many statements and what goes with them into a spool of its own, over `days` days.
pub fn write(dir: &Path, statements: u64, days: u64) {
    let settings = SpoolSettings {
        checkpoint_records: 1000,
        ..SpoolSettings::default()
    };
    let spool = Spool::open(dir, settings).expect("opened");
    let mut dice = Dice(7);
    let step = (days * 86_400).max(statements) / statements.max(1);
    let mut batch = Vec::new();
    for number in 0..statements {
        let mut at = START + number * step.max(1);
        let (person, db_user, role, application, _) = *pick(&mut dice, &PEOPLE, |p| p.4);
        // Most of it by day, some by night.
        if person != "etl" && dice.below(100) < 97 {
            at = at / 86_400 * 86_400 + 9 * 3600 + at % (8 * 3600);
        }
        let template = Record {
            session: Some(number / 20),
            sequence: Some(number % 20 + 1),
            client_addr: format!("10.1.4.{}:50123", 10 + db_user.len()).parse().ok(),
            db_user: Some(db_user.into()),
            app_user: Some(person.into()),
            role: Some(role.into()),
            application_name: Some(application.into()),
            database: Some("crm".into()),
            ..Record::new(Event::Statement, UNIX_EPOCH + Duration::from_secs(at))
        };
        batch.extend(about(number, &mut dice, template, role));
        if batch.len() >= 500 {
            spool.append_all(&batch).expect("appended");
            batch.clear();
        }
    }
    if !batch.is_empty() {
        spool.append_all(&batch).expect("appended");
    }
    spool.checkpoint().expect("signed");
}

/// The records of a statement, and now and then of something else.
fn about(number: u64, dice: &mut Dice, template: Record, role: &str) -> Vec<Record> {
    let mut records = Vec::new();
    if number.is_multiple_of(20) {
        records.push(Record {
            event: Event::Login,
            ..template.clone()
        });
    }
    if number.is_multiple_of(997) {
        records.push(Record {
            event: Event::LoginFailed,
            reason: Some("credentials".into()),
            ..template.clone()
        });
    }
    if number.is_multiple_of(20_000) {
        records.push(Record {
            event: Event::Policy,
            policy_version: Some(format!("{:016x}", number.wrapping_mul(0x9e37_79b9)).into()),
            message: Some("policies/".to_owned()),
            ..Record::new(Event::Policy, template.time)
        });
    }
    if number.is_multiple_of(4000) {
        records.extend(export(number, &template));
    }
    if number % 30_000 == 29_999 {
        records.push(Record {
            message: Some(
                "zhou.xin looked up crm.contacts.phone 214 times within a minute".to_owned(),
            ),
            alarm: Some(Box::new(AlarmRecord {
                alarm: "enumeration",
                incident: None,
                records: vec![number],
            })),
            ..Record::new(Event::Alarm, template.time)
        });
    }
    let unmasked = matches!(role, "dpo" | "pipeline");
    let (relation, column, _) = *pick(dice, &DATA, |data| data.2);
    let refused = !unmasked && dice.below(100) < 2;
    let lookup = !unmasked && column.ends_with("phone") && dice.below(5) == 0;
    let limit = if unmasked { 4000 } else { 100 };
    let rows = if lookup {
        dice.below(2)
    } else {
        dice.below(limit)
    };
    let columns = vec![column.to_owned()];
    records.push(Record {
        event: if refused {
            Event::Refusal
        } else {
            Event::Statement
        },
        kind: Some("SELECT".into()),
        text: Some(
            format!("SELECT * FROM {relation} WHERE region = $1 AND updated_at > $2").into(),
        ),
        fingerprint: Some(format!("{:016x}", relation.len()).into()),
        reads: vec![relation.to_owned()].into(),
        columns: Some(used(relation, column)),
        masked: if unmasked {
            Arc::default()
        } else {
            columns.clone().into()
        },
        lookups: if lookup {
            columns.into()
        } else {
            Arc::default()
        },
        verdict: Some(match (refused, unmasked) {
            (true, _) => VerdictRecord::Refuse,
            (_, true) => VerdictRecord::Pass,
            _ => VerdictRecord::Rewrite,
        }),
        reason: refused
            .then(|| ["function", "statement", "relation"][dice.below(3) as usize].into()),
        rows: Some(if refused { 0 } else { rows }),
        bytes: Some(rows * 120),
        duration: Some(Duration::from_micros(900 + dice.below(4000))),
        ..template
    });
    records
}

fn used(relation: &str, column: &str) -> ColumnsRecord {
    let names = |names: &[String]| names.iter().map(|name| Arc::from(name.as_str())).collect();
    ColumnsRecord {
        projected: names(&[format!("{relation}.id"), column.to_owned()]),
        filtered: names(&[format!("{relation}.region")]),
        ..ColumnsRecord::default()
    }
}

/// An export from its request over both signatures to its use.
fn export(number: u64, template: &Record) -> Vec<Record> {
    let request = format!("{:08x}", 0x7f3a_0001_u64.wrapping_add(number));
    let step = |minutes: u64,
                step: usize,
                action,
                state,
                by: &str,
                group: Option<&str>,
                comment: Option<&str>| Record {
        export: Some(Arc::new(ExportRecord {
            request: request.clone(),
            step: Some(step),
            action: Some(action),
            state: Some(state),
            person: "wang.fang".to_owned(),
            by: Some(by.to_owned()),
            group: group.map(str::to_owned),
            reason: Some("Call-back campaign Q4, contract CN-2291".to_owned()),
            comment: comment.map(str::to_owned),
            approvals: vec![],
            rows: Some(5000),
            clear: Default::default(),
        })),
        ..Record::new(
            Event::Export,
            template.time + Duration::from_secs(minutes * 60),
        )
    };
    let rejected = number % 12_000 == 8_000;
    let mut records = vec![
        step(0, 0, "open", "requested", "wang.fang", None, None),
        step(
            12,
            1,
            "approve",
            "approved",
            "leo.qian",
            Some("legal"),
            Some("covered by the contract"),
        ),
    ];
    if rejected {
        records.push(step(
            30,
            2,
            "reject",
            "rejected",
            "dora.he",
            Some("dpo"),
            Some("no consent for marketing"),
        ));
        return records;
    }
    records.push(step(
        30,
        2,
        "approve",
        "granted",
        "dora.he",
        Some("dpo"),
        None,
    ));
    records.push(Record {
        time: template.time + Duration::from_secs(3600),
        app_user: Some("wang.fang".into()),
        kind: Some("COPY".into()),
        reads: vec!["crm.contacts".to_owned()].into(),
        columns: Some(used("crm.contacts", "crm.contacts.phone")),
        masked: vec!["crm.contacts.phone".to_owned()].into(),
        verdict: Some(VerdictRecord::Rewrite),
        rows: Some(3271),
        export: Some(Arc::new(ExportRecord {
            request: request.clone(),
            step: None,
            action: None,
            state: None,
            person: "wang.fang".to_owned(),
            by: None,
            group: None,
            reason: None,
            comment: None,
            approvals: [("legal", "leo.qian"), ("dpo", "dora.he")]
                .map(|(group, person)| Signature {
                    group: group.to_owned(),
                    person: person.to_owned(),
                })
                .to_vec(),
            rows: Some(5000),
            clear: Default::default(),
        })),
        ..template.clone()
    });
    records.push(step(61, 3, "use", "used", "wang.fang", None, None));
    records
}

/// A moment of the story, for `--from` and `--to`.
#[allow(dead_code, reason = "not every test needs one")]
pub fn day(number: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START + number * 86_400)
}
