use super::*;

fn startup(minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0, 3];
    body.extend(minor.to_be_bytes());
    for (name, value) in parameters {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    body
}

fn message(body: Vec<u8>) -> StartupMessage {
    match parse(body.into()) {
        Ok(Packet::Startup(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn refused(body: impl Into<Vec<u8>>) -> StartupError {
    parse(Bytes::from(body.into())).unwrap_err()
}

fn request(code: u32, rest: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), rest].concat()
}

#[test]
fn the_length_word_is_checked_before_anything_is_read() {
    let length = |n: u32| body_length(n.to_be_bytes(), MAX_STARTUP_PACKET);
    for n in [0, 1, 3, 4, 7, 10_005, 0x4745_5420, u32::MAX] {
        assert_eq!(length(n), Err(StartupError::Length(n)));
    }
    assert_eq!(length(8), Ok(4));
    assert_eq!(length(10_004), Ok(10_000));
    assert!(body_length(100u32.to_be_bytes(), 50).is_err());
}

#[test]
fn requests_are_told_apart_and_must_be_bare() {
    let parsed = |code, rest: &[u8]| parse(Bytes::from(request(code, rest)));
    assert_eq!(parsed(80_877_103, b""), Ok(Packet::SslRequest));
    assert_eq!(parsed(80_877_104, b""), Ok(Packet::GssEncRequest));
    let error = Err(StartupError::RequestLength);
    assert_eq!(parsed(80_877_103, b"x"), error);
    assert_eq!(parsed(80_877_104, b"\0"), error);
}

#[test]
fn cancel_requests_carry_keys_of_4_to_256_bytes() {
    let parsed = |key: &[u8]| {
        let rest = [&77i32.to_be_bytes(), key].concat();
        parse(Bytes::from(request(80_877_102, &rest)))
    };
    for length in [4, 32, 256] {
        let key = vec![9; length];
        let Ok(Packet::Cancel(cancel)) = parsed(&key) else {
            panic!("a key of {length} bytes was refused");
        };
        assert_eq!((cancel.pid, cancel.key), (77, Bytes::from(key)));
    }
    for length in [0, 1, 3, 257] {
        assert_eq!(parsed(&vec![9; length]), Err(StartupError::CancelLength));
    }
    assert_eq!(
        refused(request(80_877_102, b"\0\0")),
        StartupError::CancelLength
    );
}

#[test]
fn parameters_keep_their_bytes_and_their_order() {
    let parameters = [
        ("user", "ann"),
        ("application_name", "psql"),
        ("options", "-c geqo=off"),
        ("application_name", ""),
    ];
    let body = startup(0, &parameters);
    let message = message(body.clone());
    let kept: Vec<_> = message.parameters().collect();
    let sent: Vec<_> = parameters
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    assert_eq!(kept, sent);
    assert_eq!(&message.packet()[4..], body);
    assert_eq!(message.packet()[..4], (body.len() as u32 + 4).to_be_bytes());
}

#[test]
fn the_last_user_wins_and_the_database_defaults_to_it() {
    let check = |parameters: &[(&str, &str)], user: &str, database: &str| {
        let message = message(startup(0, parameters));
        assert_eq!((message.user(), message.database()), (user, database));
    };
    check(&[("user", "ann")], "ann", "ann");
    check(&[("user", "ann"), ("user", "bob")], "bob", "bob");
    check(&[("user", "ann"), ("database", "")], "ann", "ann");
    check(&[("database", "crm"), ("user", "ann")], "ann", "crm");
    // Parameter names are compared exactly: `USER` is a setting that the server will refuse.
    check(&[("user", "ann"), ("USER", "bob")], "ann", "ann");
}

#[test]
fn names_that_postgresql_would_cut_are_refused() {
    let long = "x".repeat(64);
    let error = refused(startup(0, &[("user", &long)]));
    assert_eq!(error, StartupError::TooLong { what: "user name" });
    assert_eq!(error.fields().sqlstate, "42622");
    let fits = "x".repeat(63);
    assert_eq!(message(startup(0, &[("user", &fits)])).user(), fits);
    assert!(parse(startup(0, &[("user", "a"), ("database", &long)]).into()).is_err());
}

#[test]
fn a_missing_or_empty_user_is_refused() {
    assert_eq!(refused(startup(0, &[])), StartupError::NoUser);
    assert_eq!(refused(startup(0, &[("user", "")])), StartupError::NoUser);
    let latter_empty = [("user", "ann"), ("user", "")];
    assert_eq!(refused(startup(0, &latter_empty)), StartupError::NoUser);
    let not_text = [b"\0\x03\0\0user\0".as_slice(), b"\xff\0\0"].concat();
    let error = StartupError::NotText { what: "user name" };
    assert_eq!(refused(not_text), error);
}

#[test]
fn a_packet_cut_short_anywhere_is_refused() {
    let body = startup(0, &[("user", "ann"), ("database", "crm")]);
    for end in 0..body.len() {
        assert!(
            parse(Bytes::copy_from_slice(&body[..end])).is_err(),
            "{end}"
        );
    }
}

#[test]
fn bytes_after_the_terminator_are_refused() {
    for extra in [b"\0".as_slice(), b"x", b"user\0bob\0\0"] {
        let body = [startup(0, &[("user", "ann")]), extra.to_vec()].concat();
        assert_eq!(refused(body), StartupError::Layout);
    }
}

#[test]
fn other_major_versions_are_refused() {
    for major in [0u16, 1, 2, 4, 1234] {
        let body = request(u32::from(major) << 16, b"user\0ann\0\0");
        let error = refused(body);
        assert_eq!(error, StartupError::Version { major, minor: 0 });
        assert_eq!(error.fields().sqlstate, "0A000");
    }
}

#[test]
fn the_servers_packet_of_3_0_lacks_the_protocol_options_only() {
    let parameters = [("user", "ann"), ("_pq_.x", "1"), ("TimeZone", "UTC")];
    let message = message(startup(7, &parameters));
    let expected = startup(0, &[("user", "ann"), ("TimeZone", "UTC")]);
    assert_eq!(&message.packet_of_3_0()[4..], expected);
}

#[test]
fn what_the_client_asks_beyond_3_2_is_negotiated_down() {
    let answer = |minor, parameters: &[(&str, &str)]| {
        negotiate_protocol_version(&message(startup(minor, parameters)))
    };
    assert_eq!(answer(0, &[("user", "a")]), None);
    assert_eq!(answer(2, &[("user", "a")]), None);
    let newest = b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0".as_slice();
    assert_eq!(answer(9999, &[("user", "a")]).as_deref(), Some(newest));
    let option = b"v\0\0\0\x17\0\x03\0\0\0\0\0\x01_pq_.grease\0".as_slice();
    let asked = [("user", "a"), ("_pq_.grease", "")];
    assert_eq!(answer(0, &asked).unwrap()[..], {
        let mut frame = option.to_vec();
        frame[4] = (frame.len() - 1) as u8;
        frame
    });
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = parse(Bytes::from(body));
    }

    #[test]
    fn garbage_parameters_never_panic(tail in proptest::collection::vec(0u8..4, 0..60)) {
        let _ = parse(Bytes::from([b"\0\x03\0\0user\0a\0".as_slice(), &tail].concat()));
    }
}
