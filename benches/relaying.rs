//! What frames cost on their way: the walk over their heads, and counting rows. Run with `cargo bench --bench relaying`.
use bytes::BytesMut;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use pgveil::export::{Limits, Meter, Sum, weight};
use pgveil::session::burst::Burst;
use pgveil::sql::packing::{Holding, Packed};
use pgveil::wire::frame::{Side, back, peek, put_frame};

const ROWS: usize = 1000;

fn main() {
    divan::main();
}

/// Rows of two short columns, as DataRow messages.
fn rows() -> BytesMut {
    let mut body = vec![0, 2];
    for value in ["1234567", "some words"] {
        body.extend_from_slice(&u32::try_from(value.len()).expect("short").to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    let mut bytes = BytesMut::new();
    for _ in 0..ROWS {
        put_frame(&mut bytes, back::DATA_ROW, &body);
    }
    bytes
}

#[divan::bench]
fn heads(bencher: Bencher) {
    let bytes = rows();
    bencher.counter(ItemsCount::new(ROWS)).bench(|| {
        let (mut rest, mut seen) = (black_box(&bytes[..]), 0);
        while let Ok(Some(header)) = peek(Side::Server, rest) {
            rest = &rest[header.total()..];
            seen += 1;
        }
        seen
    });
}

/// Read, looked at and written, without a socket.
#[divan::bench]
fn burst(bencher: Bencher) {
    let bytes = rows();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| {
            runtime.block_on(async {
                let (mut reader, mut out) = (&bytes[..], tokio::io::sink());
                let mut burst = Burst::new(Side::Server, BytesMut::new());
                while burst.fill(&mut reader).await.expect("from memory") > 0 {
                    while let (true, Ok(Some(header))) = (burst.at_boundary(), burst.header()) {
                        burst.forward(header);
                    }
                    burst.flush(&mut out).await.expect("into nothing");
                }
            });
        });
}

#[divan::bench]
fn meter(bencher: Bencher) {
    let limits = Limits {
        rows: Some(1 << 40),
        bytes: Some(1 << 50),
    };
    bencher.counter(ItemsCount::new(ROWS)).bench(|| {
        let mut meter = Meter::limited(limits, Sum::default());
        for bytes in 0..ROWS as u64 {
            if meter.check(black_box(bytes), weight::of_bytes(bytes))
                == pgveil::export::Count::Within
            {
                meter.add(bytes, 1);
            }
        }
        meter
    });
}

/// A row whose values are looked into, because the statement gathers.
#[divan::bench]
fn weight_of_an_array() -> u64 {
    let value = b"{13800138000,13800138001,13800138002,13800138003}";
    let packed = Packed::pair(Holding::Array);
    weight::of_values(
        &[Some(&black_box(value)[..]), None],
        &packed,
        &weight::as_it_is,
    )
}
