//! What is said about a step, for programs and for people. Pure. Of a statement the normalised text alone: no literal,
//! parameter or result value is in it. A reason and comments are what people wrote.
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use crate::config::Language;
use crate::export::request::{Action, Column, Request, Step};
use crate::export::store::Seconds;

/// Characters of a statement that are sent; the console shows the rest.
const MAX_TEXT: usize = 4000;

/// One step of one request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The same whenever it is sent: request and step.
    pub delivery: String,
    /// Whose approvers it is for.
    pub groups: Vec<String>,
    pub subject: String,
    pub text: String,
    pub json: String,
}

/// Writes notices.
#[derive(Debug, Clone)]
pub struct Writer {
    pub console_url: Option<String>,
    pub language: Language,
}

impl Writer {
    /// The notice of a step, by its place in the history.
    pub fn notice(&self, request: &Request, step: usize) -> Notice {
        let delivery = format!("{}-{step}", request.id);
        let link = self.link(request);
        let Some(found) = request.history.get(step) else {
            return Notice {
                delivery,
                groups: Vec::new(),
                subject: String::new(),
                text: String::new(),
                json: String::new(),
            };
        };
        let words = Words(self.language);
        // Who has yet to sign is asked; of all else everybody learns who is concerned.
        let missing: Vec<&str> = request.missing();
        let asks = found.state.is_pending() && request.state.is_pending();
        let groups = match asks {
            true => missing.clone(),
            false => request.asked.groups.iter().map(String::as_str).collect(),
        };
        let subject = one_line(&words.subject(request, found, &missing));
        let text = words.text(request, found, &missing, link.as_deref());
        let json = json(request, found, step, &delivery, &subject, link.as_deref());
        Notice {
            delivery,
            groups: groups.into_iter().map(str::to_owned).collect(),
            subject,
            text,
            json: json.to_string(),
        }
    }

    fn link(&self, request: &Request) -> Option<String> {
        let url = self.console_url.as_ref()?;
        Some(format!("{url}/requests/{}", request.id))
    }
}

fn json(
    request: &Request,
    step: &Step,
    number: usize,
    delivery: &str,
    summary: &str,
    link: Option<&str>,
) -> serde_json::Value {
    let asked = &request.asked;
    let (statement, cut) = statement(&asked.text);
    let signatures: Vec<_> = request
        .signatures()
        .map(|(group, person)| json!({ "group": group, "person": person }))
        .collect();
    let granted = request.missing().is_empty().then(|| request.granted());
    json!({
        "version": 1,
        "delivery": delivery,
        "request": request.id,
        "step": number,
        "action": step.action.label(),
        "state": step.state.label(),
        "at": time(step.at),
        "by": step.by,
        "group": step.group,
        "comment": step.comment,
        // What chat programs show of a webhook.
        "text": summary,
        "url": link,
        "reason": request.reason,
        "person": asked.person,
        "db_user": asked.db_user,
        "role": asked.role,
        "database": asked.database,
        "kind": asked.kind,
        "statement": statement,
        "statement_cut": cut,
        "fingerprint": asked.fingerprint,
        "reads": asked.reads,
        "columns": asked.columns,
        "limit": asked.limit.label(),
        "allowed": asked.allowed,
        "max_rows": asked.max_rows,
        "may_unmask": asked.may_unmask,
        "uses": asked.uses,
        "holds_seconds": asked.holds,
        "groups": asked.groups,
        "missing": request.missing(),
        "signatures": signatures,
        "granted": granted,
        "expires": time(request.expires),
        "policy_version": asked.policy_version,
    })
}

fn time(at: Seconds) -> String {
    let since = Duration::from_secs(u64::try_from(at).unwrap_or(0));
    let moment = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
    humantime::format_rfc3339_seconds(moment).to_string()
}

/// The text, and whether it was cut.
fn statement(text: &str) -> (String, bool) {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => (format!("{}…", text.get(..end).unwrap_or_default()), true),
        None => (text.to_owned(), false),
    }
}

/// A subject is one line, whatever a name holds.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The sentences of a language.
struct Words(Language);

impl Words {
    fn pick<'t>(&self, english: &'t str, chinese: &'t str) -> &'t str {
        match self.0 {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }

    fn subject(&self, request: &Request, step: &Step, missing: &[&str]) -> String {
        let happened = self.happened(step, missing);
        let (id, person) = (&request.id, &request.asked.person);
        match self.0 {
            Language::English => format!("[pgveil] export request {id} of {person}: {happened}"),
            Language::Chinese => format!("[pgveil] {person} 的导出申请 {id}：{happened}"),
        }
    }

    fn happened(&self, step: &Step, missing: &[&str]) -> String {
        let by = &step.by;
        let group = step.group.as_deref().unwrap_or_default();
        let missing = missing.join(self.pick(", ", "、"));
        match (self.0, step.action) {
            (Language::English, Action::Open) => format!("needs approval of {missing}"),
            (Language::Chinese, Action::Open) => format!("等待 {missing} 审批"),
            (Language::English, Action::Explain) => {
                format!("has a reason now, needs approval of {missing}")
            }
            (Language::Chinese, Action::Explain) => format!("已补充理由，等待 {missing} 审批"),
            (Language::English, Action::Approve) if missing.is_empty() => {
                format!("granted; {by} approved for {group}")
            }
            (Language::Chinese, Action::Approve) if missing.is_empty() => {
                format!("已授权；{by} 代表 {group} 批准")
            }
            (Language::English, Action::Approve) => {
                format!("{by} approved for {group}, needs approval of {missing}")
            }
            (Language::Chinese, Action::Approve) => {
                format!("{by} 代表 {group} 批准，等待 {missing} 审批")
            }
            (Language::English, Action::Reject) => format!("rejected by {by} for {group}"),
            (Language::Chinese, Action::Reject) => format!("{by} 代表 {group} 拒绝"),
            (_, Action::Withdraw) => self.pick("withdrawn", "已撤回").to_owned(),
            (_, Action::Use) => self.pick("the grant was used", "授权已被使用").to_owned(),
            (_, Action::Expire) => self.pick("expired", "已过期").to_owned(),
            (_, Action::Void) => self
                .pick("void: the policy has changed", "已作废：策略已变更")
                .to_owned(),
        }
    }

    fn text(&self, request: &Request, step: &Step, missing: &[&str], link: Option<&str>) -> String {
        let asked = &request.asked;
        let mut lines = vec![self.subject(request, step, missing), String::new()];
        let mut line = |english, chinese, value: &str| {
            let value = value.replace('\n', "\n    ");
            lines.push(format!("{}{value}", self.pick(english, chinese)));
        };
        let none = self.pick("(none given)", "（未填写）");
        let who = format!("{} ({}, {})", asked.person, asked.db_user, asked.role);
        line("Person: ", "申请人：", &who);
        line(
            "Reason: ",
            "理由：",
            request.reason.as_deref().unwrap_or(none),
        );
        if let Some(comment) = &step.comment
            && step.action != Action::Open
            && step.action != Action::Explain
        {
            line("Comment: ", "批注：", comment);
        }
        line("Database: ", "数据库：", &asked.database);
        let limit = format!("{}: {}", asked.limit.label(), asked.allowed);
        line("Limit reached: ", "触发的限额：", &limit);
        line("Rows at most: ", "最多行数：", &asked.max_rows.to_string());
        line("Tables: ", "数据表：", &asked.reads.join(", "));
        for column in &asked.columns {
            line("Column: ", "列：", &self.column(column));
        }
        for (group, person) in request.signatures() {
            line("Signed: ", "已签：", &format!("{group}: {person}"));
        }
        line("Until: ", "有效期至：", &time(request.expires));
        line("Statement: ", "语句：", &statement(&asked.text).0);
        if let Some(link) = link {
            lines.extend([String::new(), link.to_owned()]);
        } else {
            lines.extend([
                String::new(),
                format!("pgveil approvals show {}", request.id),
            ]);
        }
        lines.push(String::new());
        lines.join("\n")
    }

    fn column(&self, column: &Column) -> String {
        let leaves = match column.masked {
            true => self.pick("masked", "脱敏"),
            false => self.pick("clear", "明文"),
        };
        match column.level {
            Some(level) => format!("{} ({}, {level}, {leaves})", column.name, column.class),
            None => format!("{} ({}, {leaves})", column.name, column.class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fixture::{NOON, approver, asked};
    use crate::export::request::Terms;

    fn writer(language: Language) -> Writer {
        Writer {
            console_url: Some("https://pgveil.example.com".to_owned()),
            language,
        }
    }

    fn request() -> Request {
        let mut asked = asked();
        asked.columns.push(Column {
            name: "crm.customers.phone".to_owned(),
            class: "phone".to_owned(),
            level: Some(3),
            masked: true,
        });
        let reason = Some("audit 2026".to_owned());
        let request = Request::open("7f3a0001".to_owned(), asked, reason, NOON, NOON + 600);
        let leo = approver("leo", &["legal"]);
        let terms = Terms::default();
        request
            .approve(&leo, None, &terms, Some("ok".to_owned()), NOON)
            .unwrap()
    }

    #[test]
    fn who_has_yet_to_sign_is_asked() {
        let notice = writer(Language::English).notice(&request(), 1);
        assert_eq!(notice.delivery, "7f3a0001-1");
        assert_eq!(notice.groups, ["dpo"]);
        assert_eq!(
            notice.subject,
            "[pgveil] export request 7f3a0001 of ann: leo approved for legal, needs approval of dpo"
        );
        assert_eq!(
            notice.text,
            "[pgveil] export request 7f3a0001 of ann: leo approved for legal, needs approval of dpo\n\n\
             Person: ann (ann_db, agent)\nReason: audit 2026\nComment: ok\nDatabase: crm\nLimit reached: rows: 100\n\
             Rows at most: 5000\nTables: crm.customers\nColumn: crm.customers.phone (phone, 3, masked)\n\
             Signed: legal: leo\nUntil: 2026-11-22T12:10:00Z\n\
             Statement: SELECT * FROM crm.customers WHERE city = $1\n\n\
             https://pgveil.example.com/requests/7f3a0001\n"
        );
    }

    #[test]
    fn chinese_is_said_in_chinese() {
        let notice = writer(Language::Chinese).notice(&request(), 1);
        assert_eq!(
            notice.subject,
            "[pgveil] ann 的导出申请 7f3a0001：leo 代表 legal 批准，等待 dpo 审批"
        );
        assert!(
            notice
                .text
                .contains("列：crm.customers.phone (phone, 3, 脱敏)")
        );
    }

    #[test]
    fn what_has_ended_is_told_to_all_its_groups() {
        let ended = request().withdraw("ann", NOON).unwrap();
        let notice = writer(Language::English).notice(&ended, 2);
        assert_eq!(notice.groups, ["legal", "dpo"]);
        let stale = writer(Language::English).notice(&ended, 0);
        assert_eq!(stale.groups, ["legal", "dpo"], "nobody is asked any more");
    }

    #[test]
    fn the_digest_of_values_and_the_key_to_it_stay_here() {
        let notice = writer(Language::English).notice(&request(), 0);
        let json: serde_json::Value = serde_json::from_str(&notice.json).unwrap();
        assert_eq!(
            json["statement"],
            "SELECT * FROM crm.customers WHERE city = $1"
        );
        assert_eq!(json["missing"], serde_json::json!(["dpo"]));
        assert_eq!(json["signatures"][0]["person"], "leo");
        assert!(json.get("digest").is_none());
        assert_eq!(json["granted"], serde_json::Value::Null);
    }

    #[test]
    fn a_subject_is_one_line_and_a_statement_is_cut() {
        let mut request = request();
        request.asked.person = "ann\r\nBcc: eve@example.com".to_owned();
        request.asked.text = "字".repeat(3 * MAX_TEXT);
        let notice = writer(Language::English).notice(&request, 0);
        assert!(!notice.subject.contains(['\r', '\n']));
        let json: serde_json::Value = serde_json::from_str(&notice.json).unwrap();
        assert_eq!(json["statement_cut"], true);
        let length = json["statement"].as_str().unwrap().chars().count();
        assert_eq!(length, MAX_TEXT + 1);
    }
}
