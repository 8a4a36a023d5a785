//! Every word of a report, in English and Chinese, in one table.

/// A language of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    #[default]
    English,
    Chinese,
}

impl Language {
    pub const fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh",
        }
    }

    pub const fn words(self) -> &'static Words {
        match self {
            Language::English => &ENGLISH,
            Language::Chinese => &CHINESE,
        }
    }
}

macro_rules! words {
    ($($key:ident: $english:literal, $chinese:literal;)*) => {
        /// The words of one language. The compiler sees to it that both have all of them.
        #[derive(Debug)]
        pub struct Words {
            pub language: Language,
            $(pub $key: &'static str,)*
        }

        const ENGLISH: Words = Words { language: Language::English, $($key: $english,)* };
        const CHINESE: Words = Words { language: Language::Chinese, $($key: $chinese,)* };

        #[cfg(test)]
        const TABLE: &[(&str, &str, &str)] = &[$((stringify!($key), $english, $chinese),)*];
    };
}

words! {
    title: "Access to personal and sensitive data", "个人与敏感数据访问报告";
    subtitle: "Report from the audit record of pgveil", "依据 pgveil 审计记录生成";
    period: "Period", "报告期";
    from_start: "the beginning of the record", "记录起点";
    to_end: "the end of the record", "记录终点";
    times_in: "Times in", "时区";
    made: "Made", "生成时间";
    by: "by", "由";
    proof: "Is the record complete and unchanged?", "记录是否完整且未被改动？";
    proof_sound: "Yes. Every record was checked against the one before it, and none is missing, changed or out of place.", "是。每条记录均与前一条核对，没有缺失、改动或错位。";
    proof_broken: "No. The record is broken; what follows rests on what could be read.", "否。记录链已断裂；以下内容仅依据可读部分。";
    proof_records: "Records", "记录数";
    proof_signed: "Signed through record", "签名覆盖至记录";
    proof_unsigned: "not signed, or no key was given", "未签名，或未提供公钥";
    proof_key: "Signing key", "签名密钥";
    proof_beside: "found beside the record: compare it with the copy that was kept elsewhere", "取自记录所在目录：请与另行保存的副本核对";
    proof_head: "Hash of the last record", "最后一条记录的哈希";
    proof_lost: "Records that could not be written", "未能写入的记录";
    proof_removed: "Records removed by retention", "按保留期限删除的记录";
    proof_fault: "First broken place", "首个断裂处";
    stopped: "Reading stopped before the end:", "读取提前终止：";
    summary: "Summary", "摘要";
    people: "people and programs", "人员与程序";
    statements: "statements", "语句";
    rows: "rows given out", "返回行数";
    classified: "uses of classified data", "涉及分类数据的语句";
    clear: "of them unmasked", "其中未脱敏";
    exports_count: "export requests", "导出申请";
    refusals_count: "refused or stopped", "被拒绝或中止";
    alarms_count: "alarms", "告警";
    outside_count: "sessions outside working hours", "非工作时间会话";
    failed_count: "failed logins", "登录失败";
    lost_count: "records lost", "丢失的记录";
    lookups_count: "lookups by stored value", "按原值查询";
    flows: "Where classified data goes", "数据流向";
    flows_text: "From left to right: the application, the role it acts in, the class of data, the table that holds it. The width of a band is the number of rows; a statement that used several classes or tables counts in each.", "自左至右：应用、角色、数据类别、所在表。带宽表示行数；涉及多个类别或表的语句分别计入。";
    flows_by_statements: "The width of a band is the number of statements.", "带宽表示语句数。";
    flows_none: "No statement of the period used a classified column.", "报告期内没有语句涉及分类数据。";
    application: "Application", "应用";
    role: "Role", "角色";
    class: "Class", "数据类别";
    relation: "Table", "表";
    uses: "Who read which classes", "谁读取了哪些类别";
    uses_text: "Each line is one person in one role and one class of data; a statement that used several classes counts in each. Unmasked statements were given the stored values; all others masked ones.", "每行为一人、一角色、一类数据；涉及多个类别的语句分别计入。“未脱敏”的语句得到原值，其余仅得到脱敏值。";
    exports: "Exports and their approvals", "导出与审批";
    exports_text: "A result longer than a role allows needs the signature of one person of each group named in the policy; nobody can sign for themselves.", "超过角色限额的结果须由策略所列每个组各一人签字；任何人不得为自己签字。";
    refusals: "Refused and stopped", "拒绝与中止";
    refusals_text: "Statements that the policy did not let run, and results that were ended at an export limit.", "策略不允许执行的语句，以及达到导出限额而中止的结果。";
    lookups: "Lookups by stored value", "按原值查询";
    lookups_text: "A lookup finds a person by a value that the searcher already knows, such as a telephone number. Many lookups without a hit can be a sign of guessing.", "按原值查询以已知的值（如电话号码）查找某人。大量未命中可能是在猜测。";
    outside: "Outside working hours", "非工作时间";
    outside_text: "Sessions begun and statements run outside", "以下时间以外开始的会话与执行的语句：";
    failed: "Failed logins", "登录失败";
    failed_text: "The user name is what the client claimed.", "用户名为客户端所声称。";
    alarms: "Alarms", "告警";
    alarms_text: "What pgveil itself raised: honeytokens, unusual volume, enumeration, violations, records lost, a database that has drifted from the policy.", "pgveil 发出的告警：诱饵数据、异常数量、枚举、违规、记录丢失、数据库与策略不符。";
    policies: "Policies in force", "生效的策略";
    policies_text: "Each time a policy was loaded. The version is a hash of its files.", "每次加载的策略。版本为策略文件的哈希。";
    none: "Nothing in the period.", "报告期内无。";
    person: "Person", "人员";
    column: "Column", "列";
    reason: "Reason", "原因";
    user: "User", "用户";
    address: "Address", "地址";
    attempts: "Attempts", "次数";
    last: "Last", "最近一次";
    when: "When", "时间";
    record: "Record", "记录号";
    event: "Event", "事件";
    what: "What", "内容";
    request: "Request", "申请号";
    asked_by: "Asked by", "申请人";
    signatures: "Signatures", "签字";
    outcome: "Outcome", "结果";
    granted: "Granted", "授权行数";
    used: "Rows taken", "实际行数";
    cap_statements: "Statements", "语句";
    cap_rows: "Rows", "行数";
    cap_unmasked: "Unmasked", "未脱敏";
    cap_sessions: "Sessions", "会话";
    no_hit: "Without a hit", "未命中";
    approved: "approved", "批准";
    rejected: "rejected", "拒绝";
    unmasked_classes: "unmasked:", "未脱敏：";
    no_reason: "none given", "未填写";
    others: "others", "其他";
    and_others: "and", "另有";
    inexact: "There were too many to tell all of them apart; numbers of rare ones may be too low.", "条目过多，无法全部区分；少见条目的数字可能偏低。";
    earlier: "earlier ones are not listed", "条更早的未列出";
    by_relation: "statements are counted by their tables: their records do not name columns, so they may not have touched the classified ones.", "条语句按表计入：其记录未列出列，可能并未涉及分类列。";
    no_policy: "No policy was at hand: only records that name classes themselves are counted by class.", "未提供策略：仅统计自带类别的记录。";
    how: "How to check this report", "如何核验本报告";
    how_text: "Every figure can be recounted from the record itself. The chain and its signatures are checked, and the records behind any line found, with:", "每个数字均可由记录重新统计。核验记录链与签名、查找任一行背后的记录：";
    privacy: "The record holds no values: neither of the data, nor of the statements' constants and parameters.", "审计记录不含任何值：既无数据内容，也无语句中的常量和参数。";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_something_of_their_own() {
        for (key, english, chinese) in TABLE {
            assert!(!english.is_empty() && !chinese.is_empty(), "{key}");
            assert!(english.is_ascii() && !chinese.is_ascii(), "{key}");
        }
    }
}
