//! The statements that must not get through, as the files here hold them.

pub const ATTACKS: &str = include_str!("attacks.txt");
/// Members of the same classes, and plain reads, that the published list does not hold.
pub const MORE: &str = include_str!("more.txt");

pub struct Case {
    pub id: String,
    pub kind: String,
    /// PostgreSQL versions before this one do not have what it sends.
    pub least: u32,
    pub sql: String,
    /// What tells the twins apart with masking off, where that is not the statement itself.
    pub control: Option<String>,
}

pub fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("#@ ") {
            let fields: Vec<&str> = head.split('|').collect();
            open = fields[2] != "proto";
            if open {
                cases.push(Case {
                    id: fields[0].into(),
                    kind: fields[1].into(),
                    least: fields[2].parse().unwrap_or(0),
                    sql: String::new(),
                    control: None,
                });
            }
        } else if let Some(control) = line.strip_prefix("#! ") {
            let case = cases.last_mut().filter(|_| open).expect("a case");
            case.control = Some(control.to_owned());
        } else if line.starts_with("## ") || line.starts_with("# ") || line.trim().is_empty() {
            open = false;
        } else if let Some(case) = cases.last_mut().filter(|_| open) {
            if !case.sql.is_empty() {
                case.sql.push('\n');
            }
            case.sql.push_str(line);
        }
    }
    cases
}
