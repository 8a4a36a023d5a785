//! Every word the console says, in English and Chinese, in one table.
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;

use crate::export::request::{Action, LimitKind, Objection, State};

/// A language of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
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

    pub fn of_tag(tag: &str) -> Option<Self> {
        [Language::English, Language::Chinese]
            .into_iter()
            .find(|language| language.tag() == tag)
    }

    /// The first language that a browser asks for and the console speaks. (Browsers list them by preference.)
    pub fn accepted(headers: &HeaderMap) -> Self {
        let header = headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|header| header.to_str().ok())
            .unwrap_or_default();
        header
            .split(',')
            .filter_map(|range| {
                let tag = range.split([';', '-']).next()?.trim();
                Language::of_tag(&tag.to_ascii_lowercase())
            })
            .next()
            .unwrap_or(Language::English)
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
    product: "pgveil approvals", "pgveil 审批";
    skip: "Skip to the content", "跳到正文";
    navigation: "Pages", "页面";
    nav_requests: "Pending", "待审批";
    nav_history: "History", "历史";
    nav_people: "People", "人员";
    nav_refusals: "Refusals", "拒绝记录";
    nav_mine: "My requests", "我的申请";
    nav_account: "Account", "账户";
    other_language: "中文", "English";
    signed_in_as: "Signed in as", "已登录：";
    sign_out: "Sign out", "退出登录";

    login_title: "Sign in", "登录";
    login_name: "Name", "用户名";
    login_password: "Password", "密码";
    login_code: "Code of the second factor", "第二因素验证码";
    login_code_hint: "Six digits from your authenticator, if the account has one.", "如账户已启用，请输入验证器上的六位数字。";
    login_failed: "Not signed in. The name, the password or the code is wrong, or there were too many attempts and you have to wait.", "登录失败。用户名、密码或验证码有误，或尝试次数过多，请稍候再试。";
    login_provider: "Sign in with the identity provider", "通过身份提供方登录";
    login_provider_failed: "The identity provider did not vouch for you.", "身份提供方未能确认您的身份。";
    login_or: "or", "或";
    login_note: "Exports of protected data leave only with two signatures. Every action here is on the audit record.", "受保护数据的导出须经两人签署。此处的每一项操作都会写入审计记录。";
    login_again: "Your session has ended. Sign in again.", "会话已结束，请重新登录。";
    signed_in: "You are signed in.", "您已登录。";
    go_on: "Continue", "继续";

    requests_title: "Pending requests", "待审批申请";
    requests_lead: "Exports beyond a role's limit. Each leaves only when one person of every group has signed.", "超出角色限额的导出。每个小组各有一人签署后方可放行。";
    requests_none: "Nothing waits for a signature.", "目前没有待签署的申请。";
    history_title: "History", "历史";
    history_lead: "All requests that were granted or have ended, the latest first.", "所有已授权或已结束的申请，最新的在前。";
    history_none: "No request has been granted or has ended yet.", "还没有已授权或已结束的申请。";
    mine_title: "My requests", "我的申请";
    mine_lead: "Exports that you have asked for.", "您提出的导出申请。";
    mine_none: "You have asked for no export.", "您没有提出过导出申请。";

    col_request: "Request", "申请";
    col_who: "Who", "申请人";
    col_what: "Statement", "语句";
    col_limit: "Limit reached", "触及的限额";
    col_data: "Data", "数据";
    col_signatures: "Signatures", "签署";
    col_state: "State", "状态";

    request_title: "Export request", "导出申请";
    facts: "What is asked for", "申请内容";
    fact_person: "Person", "人员";
    fact_role: "Role", "角色";
    fact_user: "Database user", "数据库用户";
    fact_database: "Database", "数据库";
    fact_purpose: "Purpose", "用途";
    fact_reason: "Reason", "理由";
    fact_no_reason: "none given", "未填写";
    fact_limit: "Limit reached", "触及的限额";
    fact_max: "May be granted at most", "最多可授权";
    fact_opened: "Asked", "提出时间";
    fact_expires: "Ends by itself", "自动失效";
    fact_uses: "Uses left", "剩余次数";
    fact_granted: "Granted", "已授权";
    fact_clear: "In the clear", "明文类别";
    fact_fingerprint: "Fingerprint", "语句指纹";
    fact_policy: "Policy", "策略版本";
    fact_reads: "Reads", "读取";
    statement_title: "Statement", "语句";
    statement_note: "Its literals are replaced by numbers; the grant holds for the same values only.", "字面值已替换为编号；授权仅对相同的取值有效。";
    columns_title: "Protected columns", "受保护的列";
    columns_none: "The statement reads no protected column.", "该语句不读取受保护的列。";
    column_name: "Column", "列";
    column_class: "Class", "类别";
    column_level: "Level", "级别";
    column_leaves: "Leaves", "导出形式";
    masked: "masked", "脱敏";
    in_clear: "in the clear", "明文";
    some_clear: "partly in the clear", "部分明文";
    no_protected: "no protected columns", "无受保护的列";
    signatures_title: "Signatures", "签署";
    awaits: "awaits a signature", "等待签署";
    signed_on: "signed", "签署于";
    history_of_request: "What has happened", "经过";

    decide_title: "Your decision", "您的决定";
    sign_for: "You sign for", "您代表的小组";
    rows_label: "Rows at most", "行数上限";
    rows_hint: "Leave it empty to grant as many as the policy allows:", "留空则按策略允许的上限授权：";
    clear_label: "Let leave in the clear", "允许明文导出";
    clear_hint: "Only what every signature names leaves in the clear. Everything else stays masked.", "只有每位签署人都勾选的类别才会以明文导出，其余保持脱敏。";
    clear_none: "Everything stays masked: the policy lets nothing be granted in the clear.", "全部保持脱敏：策略不允许授权明文导出。";
    comment_label: "Comment", "意见";
    comment_hint: "Stands on the audit record.", "将写入审计记录。";
    approve: "Approve and sign", "批准并签署";
    reject: "Reject", "拒绝";
    reject_note: "Rejecting ends the request for good.", "拒绝后该申请即告终止。";
    cannot_sign: "You cannot sign this request:", "您不能签署该申请：";
    requester_title: "Your request", "您的申请";
    reason_label: "Reason", "理由";
    reason_hint: "Approvers read it. It can be changed until the first signature.", "供审批人阅读。首次签署之前可以修改。";
    save_reason: "Save the reason", "保存理由";
    withdraw: "Withdraw the request", "撤回申请";

    done_approved: "Your signature is on record.", "您的签署已记录在案。";
    done_rejected: "The request is rejected.", "该申请已被拒绝。";
    done_withdrawn: "The request is withdrawn.", "申请已撤回。";
    done_explained: "The reason is saved.", "理由已保存。";
    done_password: "The password is changed.", "密码已修改。";
    done_factor: "The second factor is set up.", "第二因素已启用。";
    done_token: "The token is void.", "令牌已作废。";
    changed_since: "The request has changed since you read it. Read it again, then decide.", "在您阅读之后该申请有变化，请重新阅读后再决定。";
    not_done: "Not done:", "未完成：";

    people_title: "People and budgets", "人员与额度";
    people_lead: "What each person has taken out of what the policy allows within an hour and a day, over all sessions.", "每个人在一小时和一天之内、跨所有会话，已使用的额度与策略允许的额度。";
    people_none: "No role of the policy has such a limit.", "策略中没有角色设有此类限额。";
    people_limit: "Limit", "限额";
    people_used: "Used", "已用";
    people_left: "Left", "剩余";

    refusals_title: "Refusals", "拒绝记录";
    refusals_lead: "What was refused or stopped since pgveil started, the latest first. The page keeps itself up to date.", "pgveil 启动以来被拒绝或中止的操作，最新的在前。本页自动更新。";
    refusals_none: "Nothing has been refused.", "目前没有拒绝记录。";
    refusals_when: "When", "时间";
    refusals_what: "What", "事件";
    refusals_who: "Who", "人员";
    refusals_why: "Why", "原因";
    event_refusal: "refused", "已拒绝";
    event_stop: "export stopped", "导出中止";
    event_violation: "result stopped", "结果中止";
    event_login: "login failed", "登录失败";

    account_title: "Account", "账户";
    account_provider: "An identity provider vouches for you; passwords and second factors are kept there.", "您的身份由身份提供方确认，密码与第二因素在其处管理。";
    account_groups: "Groups", "小组";
    account_no_groups: "none", "无";
    password_title: "Password", "密码";
    password_now: "Present password", "当前密码";
    password_new: "New password", "新密码";
    password_again: "New password, again", "再次输入新密码";
    password_hint: "At least 12 characters. Other sessions and all tokens end.", "至少 12 个字符。其他会话和所有令牌将失效。";
    password_change: "Change the password", "修改密码";
    password_differs: "The two new passwords differ.", "两次输入的新密码不一致。";
    password_wrong: "The present password is wrong, or there were too many attempts.", "当前密码有误，或尝试次数过多。";
    factor_title: "Second factor", "第二因素";
    factor_on: "Set up. Somebody who has lost the device asks an administrator.", "已启用。如设备遗失，请联系管理员。";
    factor_off: "Not set up. Enter this secret in an authenticator, then the code it shows.", "尚未启用。请将此密钥输入验证器，再填写其显示的验证码。";
    factor_secret: "Secret", "密钥";
    factor_set: "Set up the second factor", "启用第二因素";
    factor_wrong: "The code is not the one that the secret gives now.", "验证码与密钥当前应有的不符。";
    tokens_title: "Tokens for programs", "程序令牌";
    tokens_none: "This account has no token.", "该账户没有令牌。";
    tokens_revoke: "Void the token", "作废";
    token_label: "Label", "名称";
    token_expires: "Ends", "到期";

    error_title: "Not possible", "无法完成";
    error_missing: "There is no such page, or it is not for you.", "页面不存在，或您无权查看。";
    error_forged: "This form did not come from this session. Open the page again and repeat what you meant to do.", "该表单并非来自当前会话。请重新打开页面后再操作。";
    error_store: "The state store or the audit record is unavailable. Nothing was changed.", "状态存储或审计记录不可用，未作任何更改。";
    error_input: "The form is not complete, or a value in it cannot be read.", "表单不完整，或其中的值无法识别。";
    back: "Back", "返回";
    utc: "All times are UTC.", "所有时间均为 UTC。";
    rows: "rows", "行";

    state_requested: "waits", "待签署";
    state_approved: "partly signed", "部分签署";
    state_granted: "granted", "已授权";
    state_used: "used", "已使用";
    state_expired: "expired", "已过期";
    state_rejected: "rejected", "已拒绝";
    state_withdrawn: "withdrawn", "已撤回";
    state_void: "void", "已作废";
    action_open: "asked", "提出申请";
    action_explain: "gave a reason", "填写理由";
    action_approve: "signed", "签署";
    action_reject: "rejected", "拒绝";
    action_withdraw: "withdrew", "撤回";
    action_use: "used the grant", "使用授权";
    action_expire: "time ran out", "到期";
    action_void: "the policy changed", "策略变更";
    limit_rows: "rows per result", "每个结果的行数";
    limit_bytes: "bytes per result", "每个结果的字节数";
    limit_hour: "rows per hour", "每小时行数";
    limit_day: "rows per day", "每天行数";
    limit_subjects: "people seen per day", "每天查看的人数";
}

impl Words {
    pub const fn state(&self, state: State) -> &'static str {
        match state {
            State::Requested => self.state_requested,
            State::Approved => self.state_approved,
            State::Granted => self.state_granted,
            State::Used => self.state_used,
            State::Expired => self.state_expired,
            State::Rejected => self.state_rejected,
            State::Withdrawn => self.state_withdrawn,
            State::Void => self.state_void,
        }
    }

    pub const fn action(&self, action: Action) -> &'static str {
        match action {
            Action::Open => self.action_open,
            Action::Explain => self.action_explain,
            Action::Approve => self.action_approve,
            Action::Reject => self.action_reject,
            Action::Withdraw => self.action_withdraw,
            Action::Use => self.action_use,
            Action::Expire => self.action_expire,
            Action::Void => self.action_void,
        }
    }

    pub const fn limit(&self, kind: LimitKind) -> &'static str {
        match kind {
            LimitKind::Rows => self.limit_rows,
            LimitKind::Bytes => self.limit_bytes,
            LimitKind::PerHour => self.limit_hour,
            LimitKind::PerDay => self.limit_day,
            LimitKind::SubjectsPerDay => self.limit_subjects,
        }
    }

    /// Why something cannot be done.
    pub fn objection(&self, objection: &Objection) -> String {
        if self.language == Language::English {
            return objection.to_string();
        }
        match objection {
            Objection::Ended(state) => format!("申请{}，不能再更改", self.state(*state)),
            Objection::NotPending(state) => format!("申请{}，不在等待签署", self.state(*state)),
            Objection::NotGranted(state) => format!("申请{}，没有可用的授权", self.state(*state)),
            Objection::Requester(person) => format!("{person} 是申请人，不能签署"),
            Objection::SamePerson(person) => {
                format!("{person} 已经签署；其他小组须由另一人签署")
            }
            Objection::NoGroup { person, groups } => {
                format!("{person} 不属于任何尚待签署的小组：{groups}")
            }
            Objection::GroupDone(group) => format!("小组 {group} 已经签署，或无须签署"),
            Objection::Clear(class) => format!("策略不允许授权明文导出类别 {class}"),
            Objection::Rows { rows, max } => format!("{rows} 行超过策略允许授权的上限（{max}）"),
            Objection::NoRows => "零行的授权没有意义；请改为拒绝".to_owned(),
            Objection::OnlyRequester(person) => format!("只有 {person} 可以这样做"),
            Objection::Explained => "理由更改次数过多；请撤回后重新申请".to_owned(),
            Objection::Changed { seen, steps } => {
                format!("申请在您阅读之后已有变化（当时 {seen} 步，现在 {steps} 步）；请重新阅读")
            }
            Objection::Other(what) => format!("授权针对的是另一个 {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_everything_and_each_in_its_own_words() {
        let han = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        for (key, english, chinese) in TABLE {
            assert!(
                !english.trim().is_empty() && !chinese.trim().is_empty(),
                "{key}"
            );
            if *key == "other_language" {
                assert!(han(english) && !han(chinese));
                continue;
            }
            assert!(!han(english), "{key}: {english}");
            assert!(han(chinese), "{key}: {chinese}");
        }
    }

    #[test]
    fn every_word_is_said_somewhere() {
        let mut said = String::new();
        let console = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/console");
        for folder in ["templates", "pages", ""] {
            let folder = std::path::Path::new(console).join(folder);
            for file in std::fs::read_dir(folder).expect("a folder").flatten() {
                if file.path().is_file() {
                    said += &std::fs::read_to_string(file.path()).expect("text");
                }
            }
        }
        for (key, _, _) in TABLE {
            let used = said.contains(&format!(".{key}"));
            assert!(used, "{key}");
        }
    }

    #[test]
    fn the_browser_s_first_language_is_taken() {
        for (header, expected) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("de-DE,en;q=0.5,zh;q=0.1", Language::English),
            ("fr", Language::English),
            ("", Language::English),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_LANGUAGE, header.parse().expect("a header"));
            assert_eq!(Language::accepted(&headers), expected, "{header}");
        }
    }
}
