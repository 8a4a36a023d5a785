use super::*;

fn failure(answer: &str, sent: usize) -> String {
    match from_elastic(answer.as_bytes(), sent) {
        Err(failure) => failure.reason,
        Ok(delivered) => format!("taken: {:?}", delivered.rejected),
    }
}

#[test]
fn a_bulk_answer_is_believed_item_by_item() {
    let item = |status: u64| format!(r#"{{"create":{{"status":{status}}}}}"#);
    let answer = |statuses: &[u64]| {
        let items: Vec<String> = statuses.iter().map(|status| item(*status)).collect();
        format!(r#"{{"errors":true,"items":[{}]}}"#, items.join(","))
    };
    for (statuses, sent, expected) in [
        (&[201, 409, 200][..], 3, "taken: []"),
        (&[201, 201], 3, "this is not the answer of a bulk request"),
        (
            &[201, 400, 201],
            3,
            r#"taken: [(1, "answered 400 (untyped)")]"#,
        ),
        (&[400, 400], 2, "answered 400 (untyped) for every document"),
        (&[201, 400, 429], 3, "answered 429 (untyped) for a document"),
        (&[201, 503], 2, "answered 503 (untyped) for a document"),
        (&[403, 403], 2, "answered 403 (untyped) for a document"),
    ] {
        assert_eq!(failure(&answer(statuses), sent), expected, "{statuses:?}");
    }
    for rubbish in [
        "",
        "<html>",
        "{}",
        r#"{"items":[{}]}"#,
        r#"{"items":[3]}"#,
        "[1]",
    ] {
        assert_eq!(
            failure(rubbish, 1),
            "this is not the answer of a bulk request",
            "{rubbish}"
        );
    }
}

/// What the other side says goes into the log, so none of its own words do.
#[test]
fn an_error_of_elasticsearch_is_told_by_its_type() {
    let answer = r#"{"items":[{"create":{"status":429,"error":{"type":"es_rejected_execution_exception\n","reason":"a canary"}}}]}"#;
    assert_eq!(
        failure(answer, 1),
        "answered 429 (es_rejected_execution_exception) for a document"
    );
}

#[test]
fn only_code_0_of_splunk_is_success() {
    for (answer, is_taken) in [
        (r#"{"text":"Success","code":0}"#, true),
        (r#"{"text":"Invalid token","code":4}"#, false),
        (r#"{"code":"0"}"#, false),
        ("OK", false),
        ("", false),
    ] {
        assert_eq!(from_splunk(answer.as_bytes()).is_ok(), is_taken, "{answer}");
    }
}

#[test]
fn what_is_json_stays_as_it_is_and_what_is_not_becomes_a_string() {
    for (body, expected) in [
        (r#"{"b": 1,"a":1.0}"#, r#"{"b": 1,"a":1.0}"#),
        ("CEF:0|a\\|\"b\"", r#""CEF:0|a\\|\"b\"""#),
        (r#"{"a":1} {"#, r#""{\"a\":1} {""#),
    ] {
        assert_eq!(as_json(body.as_bytes()), expected);
    }
}
