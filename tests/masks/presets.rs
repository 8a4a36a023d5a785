//! Presets on values as they should be, as people write them, and as nobody should.
use pgveil::policy::mask::{Mask, Preset};

use crate::results::{Case, each_gives};

#[test]
fn presets_keep_what_their_kind_of_data_allows() {
    let cases: &[(&str, &str, &str)] = &[
        ("cn_phone", "13812345678", "138****5678"),
        ("cn_phone", "+8613812345678", "+86*******5678"),
        ("cn_phone", "138 1234 5678", "138******5678"),
        ("cn_phone", "1381234567", "**********"),
        ("cn_phone", "1234567", "*******"),
        (
            "cn_phone",
            "13812345678 oder 13987654321",
            "****************************",
        ),
        ("cn_phone", "", ""),
        ("cn_name", "张伟", "张*"),
        ("cn_name", "张伟强", "张**"),
        ("cn_name", "欧阳娜娜", "欧阳**"),
        ("cn_name", "司马光", "司马*"),
        ("cn_name", "諸葛亮", "諸葛*"),
        ("cn_name", "欧阳", "欧*"),
        ("cn_name", "张", "*"),
        ("cn_name", "John Smith", "J*********"),
        ("cn_name", "", ""),
        ("cn_id_card", "11010519491231002X", "1****************X"),
        ("cn_id_card", "110105491231002", "1*************2"),
        ("cn_id_card", "11010519491231002", "*****************"),
        ("cn_id_card", "1", "*"),
        ("cn_bank_card", "6222021234567890123", "622202*********0123"),
        ("cn_bank_card", "6222 0212 3456 7890", "6222 0*********7890"),
        ("cn_bank_card", "62220212345678", "**************"),
        ("cn_plate", "京A12345", "京A***45"),
        ("cn_plate", "京AD12345", "京A****45"),
        ("cn_plate", "京A·12345", "京A****45"),
        ("cn_plate", "京A", "**"),
        ("cn_address", "北京市朝阳区建国路88号", "北京市朝阳区******"),
        (
            "cn_address",
            "广东省深圳市南山区科技园1号",
            "广东省深圳市南山区*****",
        ),
        (
            "cn_address",
            "内蒙古自治区呼和浩特市新城区",
            "内蒙古自治区呼和浩特市新城区",
        ),
        ("cn_address", "上海市阳光小区3号楼", "上海市*******"),
        ("cn_address", "北京路市场12号", "********"),
        ("cn_address", "建国路88号", "******"),
        ("cn_address", "PO Box 7", "********"),
        ("cn_address", "收件人：张伟，北京市朝阳区", "*************"),
        ("cn_address", "zhangwei北京市", "***********"),
        ("cn_address", "１３８北京市", "******"),
        ("email", "zhangwei@example.com", "z***@example.com"),
        ("email", "zhangwei", "********"),
        ("iban", "DE89370400440532013000", "DE89**************3000"),
        (
            "iban",
            "DE89 3704 0044 0532 0130 00",
            "DE89*******************0 00",
        ),
        ("iban", "NO9386011117947", "NO93*******7947"),
        ("iban", "DE893704", "********"),
        ("us_ssn", "123-45-6789", "*******6789"),
        ("us_ssn", "123456789", "*****6789"),
        ("us_ssn", "6789", "****"),
    ];
    let cases: Vec<Case> = cases
        .iter()
        .map(|(name, input, expected)| {
            let preset = Preset::named(name).expect("a preset");
            (Mask::Preset(preset), "text", *input, Some(*expected))
        })
        .collect();
    for preset in Preset::all() {
        let tried = cases.iter().filter(|case| case.0 == Mask::Preset(preset));
        assert!(tried.count() > 1, "{} is tried", preset.name);
    }
    each_gives(&cases);
}
