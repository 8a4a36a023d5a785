//! Which of several servers gets a session, with servers that play a part and a resolver that changes its mind.
use std::collections::HashMap;
use std::io;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::wire::hosts::{Host, Hosts, Later, Resolve, Standings};
use crate::wire::tls::SslMode;

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const LIMIT: Duration = Duration::from_millis(200);

/// What a server says to a startup packet.
#[derive(Clone)]
enum Says {
    Welcome,
    Nothing,
    Error(&'static str),
}

async fn server(says: Says) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let says = says.clone();
            tokio::spawn(async move {
                let length = tcp.read_u32().await.unwrap();
                let mut packet = vec![0; length as usize - 4];
                tcp.read_exact(&mut packet).await.unwrap();
                match says {
                    Says::Welcome => tcp.write_all(OK).await.unwrap(),
                    Says::Nothing => {}
                    Says::Error(code) => {
                        let words = ErrorFields::fatal(code, "no").frame(b'E');
                        tcp.write_all(&words).await.unwrap();
                    }
                }
                // Until the other side goes.
                let _ = tcp.read_to_end(&mut packet).await;
            });
        }
    });
    addr
}

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Names with their addresses as they are now.
#[derive(Debug, Default)]
struct Names(Mutex<HashMap<String, Vec<SocketAddr>>>);

impl Names {
    fn set(&self, name: &str, addresses: &[SocketAddr]) {
        let mut names = self.0.lock().unwrap();
        names.insert(name.to_owned(), addresses.to_vec());
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a Host) -> Later<'a, io::Result<Vec<SocketAddr>>> {
        let found = self.0.lock().unwrap().get(&host.name).cloned();
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }
}

fn hosts(names: &[&str], resolver: &Arc<Names>) -> Hosts {
    let host = |name: &&str| Host {
        name: (*name).to_owned(),
        port: 5432,
    };
    let resolver: Arc<dyn Resolve> = resolver.clone();
    Hosts::new(names.iter().map(host).collect()).with_resolver(resolver)
}

/// One name for each list of addresses.
fn upstream(lists: &[&[SocketAddr]], target: Target) -> Upstream {
    let resolver = Arc::new(Names::default());
    let names = ["a", "b", "c", "d"];
    for (name, addresses) in names.iter().zip(lists) {
        resolver.set(name, addresses);
    }
    let hosts = hosts(&names[..lists.len()], &resolver).with_target(target);
    Upstream::of(hosts, SslMode::Disable, None)
        .unwrap()
        .with_limit(LIMIT)
}

async fn reached(upstream: &Upstream) -> Result<SocketAddr, Failure> {
    let opened = open(upstream, Bytes::from_static(b"\0\0\0\x08\0\x03\0\0")).await?;
    Ok(opened.addr)
}

#[tokio::test]
async fn every_host_and_every_address_of_its_name_is_tried_in_turn() {
    let (dead, silent) = (nobody().await, server(Says::Nothing).await);
    let (busy, good) = (
        server(Says::Error("57P03")).await,
        server(Says::Welcome).await,
    );
    let other = server(Says::Welcome).await;
    for lists in [
        &[&[dead, good][..], &[other]][..],
        &[&[dead], &[good], &[other]],
        &[&[silent, dead], &[good, other]],
        // It starts up: the other addresses of that host are not asked.
        &[&[busy, other], &[good]],
        &[&[], &[good]],
    ] {
        let upstream = upstream(lists, Target::Any);
        assert_eq!(reached(&upstream).await.unwrap(), good, "{lists:?}");
    }
}

#[tokio::test]
async fn a_server_that_has_spoken_ends_the_search() {
    let (refuses, good) = (
        server(Says::Error("28000")).await,
        server(Says::Welcome).await,
    );
    let upstream = upstream(&[&[refuses], &[good]], Target::Any);
    let failure = reached(&upstream).await.unwrap_err();
    assert_eq!(failure.fields.sqlstate, "28000");
}

#[tokio::test]
async fn where_nobody_is_left_the_log_is_told_of_all() {
    let (dead, busy) = (nobody().await, server(Says::Error("57P03")).await);
    let other = nobody().await;
    let upstream = upstream(&[&[dead], &[busy], &[other]], Target::Any);
    let failure = reached(&upstream).await.unwrap_err();
    assert_eq!(failure.fields.sqlstate, "57P03", "the server's own words");
    let cause = failure.cause.unwrap();
    for addr in [dead, other] {
        assert!(cause.contains(&addr.to_string()), "{cause}");
    }
}

#[tokio::test]
async fn names_are_resolved_anew_each_time() {
    let (first, second) = (server(Says::Welcome).await, server(Says::Welcome).await);
    let names = Arc::new(Names::default());
    names.set("db", &[first]);
    let hosts = hosts(&["db"], &names);
    let upstream = Upstream::of(hosts, SslMode::Disable, None).unwrap();
    assert_eq!(reached(&upstream).await.unwrap(), first);
    names.set("db", &[second]);
    assert_eq!(reached(&upstream).await.unwrap(), second);
    names.set("db", &[]);
    let failure = reached(&upstream).await.unwrap_err();
    assert_eq!(failure.fields.sqlstate, "08006");
    assert!(failure.cause.unwrap().contains("db:5432"));
}

/// Knows what each address is, and who was forgotten.
#[derive(Debug, Default)]
struct Known {
    standby: Vec<SocketAddr>,
    forgotten: Mutex<Vec<SocketAddr>>,
}

impl Standings for Known {
    fn standing(&self, _: usize, addr: SocketAddr) -> Later<'_, Result<Standing, String>> {
        let in_recovery = self.standby.contains(&addr);
        let standing = Standing {
            in_recovery,
            read_only: in_recovery,
        };
        Box::pin(std::future::ready(Ok(standing)))
    }

    fn forget(&self, _: usize, addr: SocketAddr) {
        self.forgotten.lock().unwrap().push(addr);
    }
}

#[tokio::test]
async fn only_a_server_that_is_what_it_has_to_be_gets_the_session() {
    let (primary, standby) = (server(Says::Welcome).await, server(Says::Welcome).await);
    let dead = nobody().await;
    let lists: [&[SocketAddr]; 3] = [&[dead], &[standby], &[primary]];
    for (target, expected) in [
        (Target::Any, standby),
        (Target::Primary, primary),
        (Target::ReadWrite, primary),
        (Target::ReadOnly, standby),
        (Target::Standby, standby),
        (Target::PreferStandby, standby),
    ] {
        let known = Arc::new(Known {
            standby: vec![standby],
            ..Known::default()
        });
        let upstream = upstream(&lists, target).with_standings(known.clone());
        assert_eq!(reached(&upstream).await.unwrap(), expected, "{target:?}");
    }
    // No standby is left.
    for (target, expected) in [
        (Target::Standby, Err("57P03")),
        (Target::PreferStandby, Ok(primary)),
    ] {
        let upstream = upstream(&[&[primary]], target).with_standings(Arc::new(Known::default()));
        let found = reached(&upstream).await;
        let found = found.as_ref().map_err(|failure| &*failure.fields.sqlstate);
        assert_eq!(found.copied(), expected, "{target:?}");
    }
}

#[tokio::test]
async fn a_server_that_has_become_another_is_found_out_by_what_it_reports() {
    let addr = server(Says::Welcome).await;
    let known = Arc::new(Known::default());
    let upstream = upstream(&[&[addr]], Target::Primary).with_standings(known.clone());
    let opened = open(&upstream, Bytes::from_static(b"\0\0\0\x08\0\x03\0\0")).await;
    let opened = opened.unwrap();
    let reported = |hot: &str| {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        [
            pair("in_hot_standby", hot),
            pair("default_transaction_read_only", "off"),
        ]
    };
    assert!(opened.check(&upstream, &reported("off")).is_ok());
    assert!(opened.check(&upstream, &[]).is_ok(), "before 14");
    let failure = opened.check(&upstream, &reported("on")).unwrap_err();
    assert_eq!(failure.fields.sqlstate, "57P03");
    assert_eq!(*known.forgotten.lock().unwrap(), [addr]);
}
