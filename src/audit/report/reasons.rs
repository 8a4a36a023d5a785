//! Why something was refused or stopped, or a login failed, in words for people who do not read labels.
use super::words::Language;

/// Label on record, in English, in Chinese.
const REASONS: &[(&str, &str, &str)] = &[
    ("syntax", "not valid SQL", "SQL 语法错误"),
    (
        "undefined",
        "names something that does not exist",
        "引用不存在的对象",
    ),
    (
        "statement",
        "a kind of statement the role may not run",
        "角色无权执行的语句类型",
    ),
    (
        "construct",
        "a construct the role may not use",
        "角色无权使用的语法",
    ),
    (
        "relation",
        "a table the role may not use",
        "角色无权使用的表",
    ),
    (
        "function",
        "a function the role may not call",
        "角色无权调用的函数",
    ),
    (
        "operator",
        "an operator the role may not use",
        "角色无权使用的运算符",
    ),
    ("type", "a type the role may not use", "角色无权使用的类型"),
    (
        "setting",
        "a setting the role may not change",
        "角色无权更改的设置",
    ),
    (
        "judge",
        "its masked form could not be verified",
        "脱敏后的语句未能通过校验",
    ),
    (
        "limit",
        "longer or deeper than allowed",
        "超过长度或嵌套限制",
    ),
    ("encoding", "text in an unusable encoding", "文本编码不可用"),
    (
        "protocol",
        "a message the role may not send",
        "角色无权发送的协议消息",
    ),
    ("audit", "it could not be recorded", "无法写入审计记录"),
    (
        "identity",
        "not certain or proved for whom it is",
        "无法确定或证明语句代表谁",
    ),
    (
        "export_rows",
        "more rows in one result than allowed",
        "单次结果行数超限",
    ),
    (
        "export_bytes",
        "more bytes in one result than allowed",
        "单次结果字节数超限",
    ),
    (
        "export_per_hour",
        "more rows within an hour than allowed",
        "每小时行数超限",
    ),
    (
        "export_per_day",
        "more rows within a day than allowed",
        "每日行数超限",
    ),
    (
        "export_subjects_per_day",
        "more people within a day than allowed",
        "每日涉及人数超限",
    ),
    ("credentials", "wrong password", "密码错误"),
    ("policy", "no role for this user", "没有适用于该用户的角色"),
    (
        "client",
        "the client broke off or spoke wrongly",
        "客户端中断或协议错误",
    ),
    ("server", "the server turned it away", "服务器拒绝"),
    ("max_sessions", "too many sessions", "会话数已满"),
];

/// The words for a label, with the label to search for; a label that is not known as it is.
pub fn told(label: &str, language: Language) -> String {
    let known = REASONS.iter().find(|(known, ..)| *known == label);
    match (known, language) {
        (None, _) => label.to_owned(),
        (Some((_, english, _)), Language::English) => format!("{english} ({label})"),
        (Some((_, _, chinese)), Language::Chinese) => format!("{chinese}（{label}）"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_told_in_words_and_kept() {
        for (label, language, expected) in [
            (
                "function",
                Language::English,
                "a function the role may not call (function)",
            ),
            (
                "export_rows",
                Language::Chinese,
                "单次结果行数超限（export_rows）",
            ),
            ("something_new", Language::Chinese, "something_new"),
        ] {
            assert_eq!(told(label, language), expected);
        }
    }
}
