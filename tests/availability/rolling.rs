//! Two instances with one state behind haproxy: one after the other is restarted, one is killed.
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgveil::session::drain::QUIET;

use crate::line::{Stop, run, until};
use crate::support::guard::Guard;
use crate::support::{Config, Folder, Options, Pgveil, Postgres, free_port, skip};
use crate::{POLICY, SCHEMA, attempt};

const CLIENTS: usize = 64;
const HAPROXY: &str = "/usr/sbin/haproxy";

struct Balancer {
    process: Child,
    port: u16,
    stats: u16,
    _guard: Guard,
    _folder: Folder,
}

impl Balancer {
    fn start(instances: &[&Pgveil]) -> Balancer {
        let (folder, port, stats) = (Folder::new("haproxy"), free_port(), free_port());
        let mut text = format!(
            "global\n    maxconn 1000\ndefaults\n    mode tcp\n    timeout connect 5s\n    timeout check 30s\n    timeout client 1h\n    timeout server 1h\n\
             listen stats\n    mode http\n    bind 127.0.0.1:{stats}\n    stats enable\n    stats uri /stats\n\
             listen pgveil\n    bind 127.0.0.1:{port}\n    balance roundrobin\n    option httpchk GET /readyz\n    http-check expect status 200\n    \
             option redispatch\n    retries 3\n    default-server inter 200ms fall 1 rise 2\n"
        );
        for instance in instances {
            let (port, admin) = (instance.port(), instance.admin_port());
            text.push_str(&format!(
                "    server s{port} 127.0.0.1:{port} check port {admin}\n"
            ));
        }
        let file = folder.write("haproxy.cfg", text);
        let process = Command::new(HAPROXY)
            .args(["-db", "-f"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy runs");
        let guard = Guard::watch(process.id(), "KILL", folder.path());
        let balancer = Balancer {
            process,
            port,
            stats,
            _guard: guard,
            _folder: folder,
        };
        balancer.until_up(instances.len());
        balancer
    }

    /// Waits until that many instances are in use.
    fn until_up(&self, count: usize) {
        until("haproxy does not see them", || {
            let stats =
                std::net::TcpStream::connect(("127.0.0.1", self.stats)).map(|mut stream| {
                    use std::io::{Read, Write};
                    let mut answer = String::new();
                    let _ = stream.write_all(b"GET /stats;csv HTTP/1.0\r\n\r\n");
                    let _ = stream.read_to_string(&mut answer);
                    answer
                });
            let stats = stats.unwrap_or_default();
            let up = |line: &&str| line.starts_with("pgveil,s") && line.contains(",UP,");
            stats.lines().filter(up).count() == count
        });
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a client has let most of the time go by after which its session is ended.
fn idle(begins: Instant, answered: Instant) -> bool {
    begins.duration_since(answered) >= QUIET / 2
}

#[test]
fn two_instances_are_restarted_in_turn_and_no_transaction_fails() {
    if !fs::exists(HAPROXY).unwrap_or(false) {
        return skip(
            "two_instances_are_restarted_in_turn_and_no_transaction_fails",
            "haproxy is not installed",
        );
    }
    let server = Postgres::start(Options {
        settings: &[("max_connections", "400")],
        ..Options::default()
    });
    server.sql("postgres", SCHEMA);
    server.create_database("state");
    let start = || {
        let mut config = Config::new(&server);
        config.policy(POLICY);
        config.set("limits", "{ drain_delay: 4s, drain_timeout: 30s }");
        config.set(
            "state",
            &format!(
                "postgres://postgres@127.0.0.1:{}/state?sslmode=disable",
                server.port()
            ),
        );
        Pgveil::start(&config)
    };
    let mut instances = vec![start(), start()];
    let balancer = Balancer::start(&instances.iter().collect::<Vec<_>>());
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let ending = Stop(&stop);
        for number in 0..CLIENTS {
            let (stop, done, port) = (&stop, &done, balancer.port);
            scope.spawn(move || {
                let user = ["clear", "blind"][number % 2];
                let pause = Duration::from_millis(100 + 20 * number as u64);
                while !stop.load(Ordering::Relaxed) {
                    let mut client =
                        attempt(port, user).unwrap_or_else(|words| panic!("refused: {words:?}"));
                    let mut answered = Instant::now();
                    // A new session for every other transaction.
                    for _ in 0..2 {
                        let begins = Instant::now();
                        match run(&mut client, "BEGIN") {
                            Ok(()) => {}
                            // On a machine that is busy this client itself may have been idle for too long.
                            Err(words) if words.starts_with("57P01") && idle(begins, answered) => {
                                break;
                            }
                            Err(words) => panic!("refused: {words}"),
                        }
                        run(&mut client, "INSERT INTO kept (who) VALUES ('rolling')")
                            .expect("goes on");
                        thread::sleep(pause);
                        run(&mut client, "COMMIT").expect("ends");
                        answered = Instant::now();
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let began = Instant::now();
        for turn in 0..2 {
            let mut instance = instances.remove(0);
            instance.terminate();
            until("it is not unhealthy", || {
                std::net::TcpStream::connect(("127.0.0.1", instance.admin_port())).is_err()
                    || instance.http("/readyz").contains(" 503 ")
            });
            assert!(instance.wait().success());
            instances.push(instance.restart());
            balancer.until_up(2);
            let done = done.load(Ordering::Relaxed);
            println!("restart {turn}: {done} transactions, {:?}", began.elapsed());
        }
        drop(ending);
    });
    let kept = server.sql(
        "postgres",
        "SELECT count(*) FROM kept WHERE who = 'rolling'",
    );
    let kept: usize = kept[0][0]
        .as_deref()
        .unwrap_or("0")
        .parse()
        .expect("a number");
    assert_eq!(kept, done.load(Ordering::Relaxed));

    // One is killed: its sessions break, and nobody else notices.
    let mut sessions: Vec<_> = (0..8)
        .map(|_| attempt(balancer.port, "clear").expect("in"))
        .collect();
    instances[0].kill();
    let alive = sessions.iter_mut().filter_map(|client| {
        use std::io::Write;
        client
            .stream
            .write_all(&crate::support::message::query("SELECT 1"))
            .ok()?;
        let frames = client.read_until_ready();
        frames.last().filter(|frame| frame.tag == b'Z').map(|_| ())
    });
    assert_eq!(alive.count(), 4);
    for _ in 0..8 {
        assert!(attempt(balancer.port, "blind").is_ok());
    }
}
