use super::*;

fn check(sqlstate: &str, message: &str, expected: &str) {
    let fields = ErrorFields {
        detail: Some("Key (phone)=(13812345678) already exists.".to_owned()),
        hint: Some("secret hint".to_owned()),
        context: Some("COPY contacts, line 1, column phone: 13812345678".to_owned()),
        table: Some("contacts".to_owned()),
        column: Some("phone".to_owned()),
        constraint: Some("contacts_phone_key".to_owned()),
        other: vec![(b'Y', "secret".to_owned())],
        ..ErrorFields::error(sqlstate, message)
    };
    let scrubbed = error(&fields, None, Reach::Names);
    assert_eq!(scrubbed.message, expected);
    assert_eq!(scrubbed.sqlstate, sqlstate);
    assert_eq!(scrubbed.constraint, fields.constraint);
    assert_eq!(scrubbed.context, None);
    assert!(scrubbed.other.is_empty());
    let class = &sqlstate[..2];
    assert_eq!(
        scrubbed.detail.is_some(),
        CLASSES_WITH_DETAIL.contains(&class)
    );
    assert_eq!(
        scrubbed.hint.is_some(),
        CLASSES_WITHOUT_DATA.contains(&class) || HINTED.contains(&sqlstate)
    );
}

#[test]
fn an_error_within_a_function_says_its_sqlstate_and_names_alone() {
    for (context, internal_query) in [
        (Some("PL/pgSQL function leak() line 3 at EXECUTE"), None),
        (Some("SQL function \"leak\" statement 1"), None),
        (None, Some("SELECT 13812345678x")),
    ] {
        let fields = ErrorFields {
            context: context.map(str::to_owned),
            internal_query: internal_query.map(str::to_owned),
            internal_position: internal_query.map(|_| 8),
            detail: Some("13812345678".to_owned()),
            hint: Some("13812345678".to_owned()),
            ..ErrorFields::error("42703", "column \"13812345678\" does not exist")
        };
        let scrubbed = error(&fields, None, Reach::Names);
        assert_eq!(scrubbed.message, "the statement failed with SQLSTATE 42703");
        let rest = (
            scrubbed.detail,
            scrubbed.hint,
            scrubbed.internal_query,
            scrubbed.internal_position,
        );
        assert_eq!(rest, (None, None, None, None));
    }
}

#[test]
fn messages_that_quote_a_value_lose_it() {
    check(
        "22P02",
        "invalid input syntax for type integer: \"13812345678\"",
        "invalid input syntax for type integer",
    );
    check(
        "22P02",
        "invalid input syntax for type date: \"x: \"y\"\"",
        "invalid input syntax for type date",
    );
    check(
        "22P02",
        "invalid input value for enum crm.state: \"secret\"",
        "invalid input value for enum crm.state",
    );
    check(
        "22003",
        "value \"13812345678\" is out of range for type integer",
        "value out of range for type integer",
    );
    check(
        "22008",
        "date/time field value out of range: \"1990-13-01\"",
        "date/time field value out of range",
    );
    check(
        "22021",
        "invalid byte sequence for encoding \"UTF8\": 0xff",
        "invalid byte sequence for encoding \"UTF8\"",
    );
    check(
        "22023",
        "unit \"secret\" not recognized",
        "invalid parameter value",
    );
    check(
        "2201B",
        "invalid regular expression: secret",
        "invalid regular expression",
    );
    check("P0001", "phone is 13812345678", RAISED);
    check(
        "XX000",
        "cache lookup failed for 13812345678",
        "internal error",
    );
    check(
        "99999",
        "secret",
        "the statement failed with SQLSTATE 99999",
    );
}

#[test]
fn messages_without_values_stay_as_they_are() {
    for (sqlstate, message) in [
        ("22012", "division by zero"),
        ("22001", "value too long for type character varying(20)"),
        ("22023", "step size cannot equal zero"),
        ("22025", "invalid Unicode escape"),
        ("22P06", "unsafe use of \\' in a string literal"),
        ("42703", "column \"nope\" does not exist"),
        (
            "25P02",
            "current transaction is aborted, commands ignored until end of transaction block",
        ),
        ("57014", "canceling statement due to user request"),
        (
            "21000",
            "more than one row returned by a subquery used as an expression",
        ),
    ] {
        check(sqlstate, message, message);
    }
}

#[test]
fn constraint_violations_are_told_from_names() {
    check(
        "23505",
        "duplicate key value violates unique constraint \"contacts_phone_key\"",
        "duplicate key value violates unique constraint \"contacts_phone_key\"",
    );
    check(
        "23514",
        "anything 13812345678",
        "new row for relation \"contacts\" violates check constraint \"contacts_phone_key\"",
    );
}

#[test]
fn a_raise_that_borrows_a_harmless_sqlstate_is_still_a_raise() {
    let fields = ErrorFields {
        routine: Some("exec_stmt_raise".to_owned()),
        hint: Some("13812345678".to_owned()),
        ..ErrorFields::error("42703", "column \"13812345678\" does not exist")
    };
    let scrubbed = error(&fields, None, Reach::Names);
    assert_eq!(scrubbed.message, RAISED);
    assert_eq!(scrubbed.hint, None);
}

#[test]
fn a_raise_puts_no_values_where_names_belong() {
    let raised = |routine: &str| {
        let secret = || Some("13812345678".to_owned());
        let fields = ErrorFields {
            routine: Some(routine.to_owned()),
            schema: secret(),
            table: secret(),
            column: secret(),
            data_type: secret(),
            constraint: secret(),
            ..ErrorFields::error("23505", "taken")
        };
        let (error, notice) = (
            error(&fields, None, Reach::Names),
            notice(&fields, None, Reach::Names),
        );
        [error, notice].map(|words| String::from_utf8_lossy(&words.frame(b'E')).into_owned())
    };
    for words in raised("exec_stmt_raise") {
        assert!(!words.contains("13812345678"), "{words}");
    }
    // Of the server's own making they are names.
    let [words, _] = raised("_bt_check_unique");
    assert!(words.contains("13812345678"));
}

#[test]
fn an_error_of_another_server_says_its_sqlstate_alone() {
    for (sqlstate, expected) in [
        ("42703", "the statement failed with SQLSTATE 42703"),
        ("40001", "the statement failed with SQLSTATE 40001"),
        ("22012", "division by zero"),
    ] {
        let fields = ErrorFields {
            routine: Some("pgfdw_report_error".to_owned()),
            detail: Some("13812345678".to_owned()),
            hint: Some("13812345678".to_owned()),
            ..ErrorFields::error(sqlstate, "the number 13812345678")
        };
        let scrubbed = error(&fields, None, Reach::Names);
        assert_eq!(scrubbed.message, expected);
        assert_eq!((scrubbed.detail, scrubbed.hint), (None, None));
    }
}

#[test]
fn a_syntax_error_in_a_value_quotes_none_of_it() {
    for (message, expected) in [
        (
            "syntax error in tsquery: \"13812345678 x\"",
            "syntax error in tsquery",
        ),
        (
            "syntax error at or near \"13812345678\" of jsonpath input",
            "syntax error",
        ),
    ] {
        let fields = ErrorFields {
            detail: Some("13812345678".to_owned()),
            ..ErrorFields::error("42601", message)
        };
        let scrubbed = error(&fields, None, Reach::Names);
        assert_eq!(
            (scrubbed.message.as_str(), scrubbed.detail),
            (expected, None)
        );
    }
    let kept = "cannot insert multiple commands into a prepared statement";
    check("42601", kept, kept);
    let fields = ErrorFields {
        position: Some(8),
        ..ErrorFields::error("42601", "syntax error at or near \"FROM\"")
    };
    assert_eq!(error(&fields, None, Reach::Names).message, fields.message);
}

#[test]
fn the_schema_that_planning_added_is_not_shown() {
    check(
        "42P01",
        "relation \"pg_temp.nope\" does not exist",
        "relation \"nope\" does not exist",
    );
}

#[test]
fn unknown_notices_say_nothing() {
    let check = |sqlstate: &str, message: &str, expected: &str| {
        let scrubbed = notice(&ErrorFields::notice(sqlstate, message), None, Reach::Names);
        assert_eq!(scrubbed.message, expected);
    };
    check("00000", "phone is 13812345678", WITHHELD_NOTICE);
    let kept = "there is no transaction in progress";
    check("25P01", kept, kept);
    let kept = "table \"x\" does not exist, skipping";
    check("00000", kept, kept);
    for kept in [
        "skipping \"x\" --- only table or database owner can analyze it",
        "permission denied to analyze \"x\", skipping it",
    ] {
        check("01000", kept, kept);
    }
}

/// As a server says it of a value that a view takes for a name.
fn of_a_value(sqlstate: &str, message: &str, file: &str) -> ErrorFields {
    ErrorFields {
        file: Some(file.to_owned()),
        hint: Some("13812345678".to_owned()),
        detail: Some("13812345678".to_owned()),
        ..ErrorFields::error(sqlstate, message)
    }
}

#[test]
fn a_value_that_was_taken_for_a_name_is_not_quoted() {
    for (sqlstate, message, file) in [
        (
            "42P01",
            "relation \"13812345678\" does not exist",
            "namespace.c",
        ),
        ("42704", "role \"13812345678\" does not exist", "acl.c"),
        ("42883", "operator does not exist: Zhang Wei", "regproc.c"),
        (
            "42725",
            "more than one function named \"Zhang\"",
            "regproc.c",
        ),
        (
            "3D000",
            "database \"13812345678\" does not exist",
            "dbcommands.c",
        ),
        (
            "3F000",
            "schema \"13812345678\" does not exist",
            "namespace.c",
        ),
        ("34000", "cursor \"13812345678\" does not exist", "xml.c"),
        ("0A000", "unit \"13812345678\" not supported", "timestamp.c"),
        (
            "42704",
            "unrecognized configuration parameter \"13812345678\"",
            "guc.c",
        ),
    ] {
        let fields = of_a_value(sqlstate, message, file);
        let scrubbed = error(&fields, None, Reach::Rows);
        assert_eq!(
            scrubbed.message,
            format!("the statement failed with SQLSTATE {sqlstate}")
        );
        assert_eq!(scrubbed.sqlstate, sqlstate);
        assert_eq!((scrubbed.hint, scrubbed.detail), (None, None), "{message}");
        // Where no row is looked at the name is the client's own.
        assert_eq!(error(&fields, None, Reach::Names).message, message);
    }
}

#[test]
fn a_type_that_a_value_names_is_not_quoted_though_it_has_a_place() {
    let fields = ErrorFields {
        position: Some(5),
        context: Some("invalid type name \"138 12345678\"".to_owned()),
        ..ErrorFields::error("42601", "syntax error at or near \"12345678\"")
    };
    let scrubbed = error(&fields, None, Reach::Rows);
    assert_eq!(scrubbed.message, "syntax error");
    assert_eq!(scrubbed.position, None);
}

#[test]
fn what_analysis_says_of_a_statement_over_rows_stays() {
    for (sqlstate, message) in [
        ("42P01", "relation \"nope\" does not exist"),
        ("42703", "column \"nope\" does not exist"),
        ("42883", "function nope(integer) does not exist"),
    ] {
        let fields = ErrorFields {
            position: Some(8),
            hint: Some("Perhaps you meant \"note\".".to_owned()),
            ..ErrorFields::error(sqlstate, message)
        };
        let scrubbed = error(&fields, None, Reach::Rows);
        assert_eq!(scrubbed.message, message);
        assert_eq!((scrubbed.hint, scrubbed.position), (fields.hint, Some(8)));
    }
}

#[test]
fn what_the_server_says_by_the_names_of_the_catalog_stays() {
    for (sqlstate, message, file) in [
        (
            "428C9",
            "cannot insert a non-DEFAULT value into column \"id\"",
            "rewriteHandler.c",
        ),
        ("42501", "permission denied for table notes", "aclchk.c"),
        (
            "42501",
            "permission denied for sequence notes_id_seq",
            "sequence.c",
        ),
        (
            "26000",
            "prepared statement \"s1\" does not exist",
            "prepare.c",
        ),
        ("34000", "cursor \"c\" does not exist", "portalcmds.c"),
        ("42P03", "cursor \"c\" already exists", "portalmem.c"),
        ("42P07", "relation \"t\" already exists", "heap.c"),
        (
            "42883",
            "could not identify an equality operator for type json",
            "typcache.c",
        ),
        (
            "57014",
            "canceling statement due to user request",
            "postgres.c",
        ),
        ("40P01", "deadlock detected", "deadlock.c"),
        (
            "24000",
            "cursor is not positioned on a row",
            "execCurrent.c",
        ),
        (
            "55P03",
            "could not obtain lock on row in relation \"notes\"",
            "heapam_handler.c",
        ),
    ] {
        let fields = of_a_value(sqlstate, message, file);
        assert_eq!(error(&fields, None, Reach::Rows).message, message);
    }
}

#[test]
fn a_name_that_is_cut_off_may_be_a_value() {
    let long = format!(
        "identifier \"{0}138\" will be truncated to \"{0}\"",
        "x".repeat(63)
    );
    let fields = ErrorFields::notice("42622", &long);
    assert_eq!(
        notice(&fields, None, Reach::Rows).message,
        "an identifier will be truncated"
    );
    assert_eq!(notice(&fields, None, Reach::Names).message, long);
}

/// The function of an index may have read anything.
#[test]
fn detail_of_an_expression_is_dropped() {
    let violation = |detail: &str| ErrorFields {
        schema: Some("crm".to_owned()),
        table: Some("open".to_owned()),
        constraint: Some("open_key".to_owned()),
        detail: Some(detail.to_owned()),
        ..ErrorFields::error(
            "23505",
            "duplicate key value violates unique constraint \"open_key\"",
        )
    };
    let own = ["crm.open".to_owned()];
    for (detail, kept) in [
        ("Key (id)=(7) already exists.", true),
        ("Key (id, \"b c\")=(7, (x)) already exists.", true),
        (
            "Key (crm.phone_ix(cust))=(13800138000) already exists.",
            false,
        ),
        ("Key (lower(name))=(x) already exists.", false),
        ("Anything else.", false),
    ] {
        let found = detail_of_own_row(&violation(detail), &own);
        assert_eq!(found.is_some(), kept, "{detail}");
    }
}

/// A domain is named as the server spells it, and by nothing else that stands in its place.
#[test]
fn a_domain_is_named_as_the_server_spells_it() {
    let violated = |spelled: &str| {
        let fields = ErrorFields {
            schema: Some("crm".to_owned()),
            data_type: Some("Some one".to_owned()),
            constraint: Some("c".to_owned()),
            ..ErrorFields::error(
                "23514",
                format!("value for domain {spelled} violates check constraint \"c\""),
            )
        };
        error(&fields, None, Reach::Rows).message
    };
    for spelled in ["\"Some one\"", "crm.\"Some one\""] {
        let words = format!("value for domain {spelled} violates check constraint \"c\"");
        assert_eq!(violated(spelled), words);
    }
    assert!(!violated("13800138000").contains("13800138000"));
}

#[test]
fn a_violated_key_is_named_without_its_values() {
    let violation = |sqlstate: &str, detail: &str| ErrorFields {
        table: Some("contacts".to_owned()),
        constraint: Some("k".to_owned()),
        detail: Some(detail.to_owned()),
        ..ErrorFields::error(sqlstate, "insert or update on table")
    };
    for (sqlstate, detail, told) in [
        (
            "23503",
            "Key (company)=(7) is not present in table \"companies\".",
            Some("Key (company)=(...) is not present in table \"companies\"."),
        ),
        (
            "23503",
            "Key (id)=(7) is still referenced from table \"deals\".",
            Some("Key (id)=(...) is still referenced from table \"deals\"."),
        ),
        (
            "23505",
            "Key (phone, lower(name))=(13800138000, x) already exists.",
            Some("Key (phone, lower(name))=(...) already exists."),
        ),
        (
            "23505",
            "Key (a)=(b)=(13800138000) already exists. 13800138000) already exists.",
            Some("Key (a)=(...) already exists."),
        ),
        ("23502", "Failing row contains (1, 13800138000).", None),
        ("23514", "Failing row contains (1, 13800138000).", None),
        ("23505", "Something else: 13800138000", None),
    ] {
        assert_eq!(
            detail_of_key(&violation(sqlstate, detail)).as_deref(),
            told,
            "{detail}"
        );
    }
    let raised = ErrorFields {
        context: Some("PL/pgSQL function f() line 3 at RAISE".to_owned()),
        ..violation("23505", "Key (13800138000)=(1) already exists.")
    };
    assert_eq!(detail_of_key(&raised), None);
}
