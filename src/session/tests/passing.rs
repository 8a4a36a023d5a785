//! What nothing is said about passes as it came.
use super::bench::{
    Bench, STATEMENT_BYTES, bind, columns, complete, execute, frame, parse, query, ready, row,
};

#[tokio::test]
async fn both_directions_pass_byte_for_byte_at_one_byte_a_time() {
    let mut bench = Bench::start(false, 1);
    bench.client_is_greeted().await;
    let sent = [
        query("SELECT 1"),
        parse("s", "SELECT 2"),
        bind("p", "s"),
        frame('D', "Pp\0"),
        execute("p"),
        frame('C', "Ss\0"),
        frame('H', ""),
        frame('S', ""),
        frame('F', [0; 14]),
    ];
    let answered = [
        columns("a", 1, 1),
        row("one"),
        complete("SELECT 1"),
        ready('I'),
        frame('1', ""),
        frame('2', ""),
        columns("a", 500, 3),
        row("two"),
        frame('s', ""),
        frame('3', ""),
        frame('N', "SNOTICE\0VNOTICE\0C00000\0Mpassing\0\0"),
        frame('S', "TimeZone\0UTC\0"),
        frame('A', "\0\0\0\0channel\0payload\0"),
        ready('I'),
        frame('V', [0; 4]),
        ready('I'),
    ];
    let Bench {
        mut client,
        mut server,
        ..
    } = bench;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let whole = sent.concat();
    let mut got = vec![0; whole.len()];
    let (written, read) = tokio::join!(client.write_all(&whole), server.read_exact(&mut got));
    written.unwrap();
    read.unwrap();
    assert_eq!(got, whole);
    let whole = answered.concat();
    let mut got = vec![0; whole.len()];
    let (written, read) = tokio::join!(server.write_all(&whole), client.read_exact(&mut got));
    written.unwrap();
    read.unwrap();
    assert_eq!(got, whole);
}

#[tokio::test]
async fn every_statement_is_on_record_before_its_end_is_out() {
    let mut bench = Bench::unrestricted().await;
    bench
        .client_sends(&[query("BEGIN; INSERT x; SELECT y")])
        .await;
    bench.server_gets(&query("BEGIN; INSERT x; SELECT y")).await;
    bench.server_sends(&[complete("BEGIN")]).await;
    bench.client_gets(&complete("BEGIN")).await;
    assert_eq!(bench.records(), ["login", "statement BEGIN"]);
    bench.server_sends(&[complete("INSERT 0 7")]).await;
    bench.client_gets(&complete("INSERT 0 7")).await;
    assert_eq!(bench.last_record().rows, Some(7));
    bench
        .server_sends(&[columns("a", 1, 1), row("x"), row("y"), complete("SELECT 2")])
        .await;
    for expected in [columns("a", 1, 1), row("x"), row("y"), complete("SELECT 2")] {
        bench.client_gets(&expected).await;
    }
    let record = bench.last_record();
    assert_eq!(record.kind.as_deref(), Some("SELECT"));
    assert_eq!(record.rows, Some(2));
    assert_eq!(record.bytes, Some(2 * row("x").len() as u64));
}

#[tokio::test]
async fn a_row_larger_than_every_buffer_passes_while_it_comes() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("SELECT big")]).await;
    bench.server_gets(&query("SELECT big")).await;
    let big = row(&"x".repeat(3_000_000));
    let Bench {
        ref mut client,
        ref mut server,
        ..
    } = bench;
    use tokio::io::AsyncWriteExt;
    let (written, got) = tokio::join!(server.write_all(&big), super::bench::next(client));
    written.unwrap();
    let (tag, body) = got.unwrap();
    assert_eq!(frame(tag, body), big);
}

#[tokio::test]
async fn copy_passes_both_ways() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("COPY t")]).await;
    bench.server_gets(&query("COPY t")).await;
    bench.server_sends(&[frame('G', [0, 0, 0])]).await;
    bench.client_gets(&frame('G', [0, 0, 0])).await;
    let data = [frame('d', "1\tone\n"), frame('c', "")];
    bench.client_sends(&data).await;
    for expected in &data {
        bench.server_gets(expected).await;
    }
    bench.server_sends(&[complete("COPY 1"), ready('I')]).await;
    bench.client_gets(&complete("COPY 1")).await;
    bench.client_gets(&ready('I')).await;
    assert_eq!(bench.last_record().rows, Some(1));
    bench.client_sends(&[query("COPY u")]).await;
    bench.server_gets(&query("COPY u")).await;
    let data = [
        frame('H', [1, 0, 0]),
        frame('d', "row"),
        frame('d', [0xff, 0xff]),
        frame('c', ""),
        complete("COPY 1"),
        ready('I'),
    ];
    bench.server_sends(&data).await;
    for expected in &data {
        bench.client_gets(expected).await;
    }
    assert_eq!(bench.last_record().rows, Some(1));
}

#[tokio::test]
async fn a_text_beyond_the_limit_passes_unread_where_nothing_is_restricted() {
    let mut bench = Bench::unrestricted().await;
    let long = "x".repeat(STATEMENT_BYTES as usize);
    let sent = [query(&long), parse("s", &long), frame('S', "")];
    let Bench {
        ref mut client,
        ref mut server,
        ..
    } = bench;
    use tokio::io::AsyncWriteExt;
    let whole = sent.concat();
    let read = async {
        for expected in &sent {
            let (tag, body) = super::bench::next(server).await.unwrap();
            assert!(frame(tag, body) == *expected);
        }
    };
    let (written, ()) = tokio::join!(client.write_all(&whole), read);
    written.unwrap();
    bench
        .server_sends(&[complete("SELECT 1"), ready('I'), frame('1', ""), ready('I')])
        .await;
    bench.client_gets(&complete("SELECT 1")).await;
    assert_eq!(bench.records(), ["login", "statement UNPARSED"]);
}

#[tokio::test]
async fn a_bind_larger_than_every_buffer_passes_while_it_comes() {
    let mut bench = Bench::restricted().await;
    let mut large = b"\0\0\0\0\0\x01\x00\x2d\xc6\xc0".to_vec();
    large.extend(std::iter::repeat_n(b'x', 3_000_000));
    large.extend([0, 0]);
    let sent = [parse("", "INSERT x"), frame('B', large), execute("")];
    let whole = sent.concat();
    let Bench {
        ref mut client,
        ref mut server,
        ..
    } = bench;
    use tokio::io::AsyncWriteExt;
    let read = async {
        for expected in &sent {
            let (tag, body) = super::bench::next(server).await.unwrap();
            assert!(frame(tag, body) == *expected);
        }
    };
    let (written, ()) = tokio::join!(client.write_all(&whole), read);
    written.unwrap();
}
