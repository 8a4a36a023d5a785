//! What a service manager, a container and a shell get from the program.
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Output;

use crate::support::pgveil::command;
use crate::support::{Config, Folder, Options, PATIENCE, Pgveil, Postgres, free_port};

const POLICY: &str = "version: 1\nroles:\n  dpo: { who: [{ db_user: postgres }], unmasked: true }\nunmatched: deny\n";

/// A service manager that listens at a path or at an abstract address.
struct Manager {
    socket: UnixDatagram,
    name: String,
    _folder: Folder,
}

impl Manager {
    fn at_a_path() -> Manager {
        let folder = Folder::new("manager");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        Manager::of(socket, path.display().to_string(), folder)
    }

    fn at_an_abstract_address() -> Manager {
        let name = format!("pgveil-test-manager-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("bound");
        Manager::of(socket, format!("@{name}"), Folder::new("manager"))
    }

    fn of(socket: UnixDatagram, name: String, folder: Folder) -> Manager {
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Manager {
            socket,
            name,
            _folder: folder,
        }
    }

    fn heard(&self) -> String {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).into_owned()
    }

    fn has_heard_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).expect("set");
        self.socket.recv(&mut [0; 16]).is_err()
    }
}

#[test]
fn a_service_manager_hears_that_it_is_ready_alive_and_ending() {
    for manager in [Manager::at_a_path(), Manager::at_an_abstract_address()] {
        let server = Postgres::start(Options::default());
        let mut config = Config::new(&server);
        config.policy(POLICY);
        config.env("NOTIFY_SOCKET", &manager.name);
        config.env("WATCHDOG_USEC", "300000");
        let mut pgveil = Pgveil::start(&config);
        let ready = manager.heard();
        let expected = format!("READY=1\nSTATUS=listening on 127.0.0.1:{}", pgveil.port());
        assert_eq!(ready, expected);
        for _ in 0..3 {
            assert_eq!(manager.heard(), "WATCHDOG=1");
        }
        pgveil.terminate();
        let mut last = manager.heard();
        while last == "WATCHDOG=1" {
            last = manager.heard();
        }
        assert_eq!(last, "STOPPING=1\nSTATUS=draining");
        assert!(pgveil.wait().success());
    }
}

#[test]
fn a_service_manager_hears_nothing_of_a_proxy_that_cannot_start() {
    let manager = Manager::at_a_path();
    let mut config = Config::upstream_port(free_port());
    config.policy(POLICY);
    let folder = Folder::new("unready");
    let file = config.write(&folder);
    let ended = command()
        .args(["serve", "--config"])
        .arg(file)
        .env("NOTIFY_SOCKET", &manager.name)
        .output()
        .expect("it runs");
    assert!(!ended.status.success());
    assert!(manager.has_heard_nothing());
}

fn said(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().expect("an exit code"), text)
}

#[test]
fn its_health_can_be_asked_without_an_http_client() {
    let server = Postgres::start(Options::default());
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    let file = pgveil.folder().join("pgveil.yaml");
    let by_config = command().args(["health", "--config"]).arg(file).output();
    assert_eq!(
        said(&by_config.expect("it runs")),
        (0, "ready\n".to_owned())
    );
    let admin = format!("127.0.0.1:{}", pgveil.admin_port());
    let ask = |more: &[&str]| {
        let asked = command()
            .args(["health", "--admin", &admin])
            .args(more)
            .output();
        said(&asked.expect("it runs"))
    };
    assert_eq!(ask(&[]), (0, "ready\n".to_owned()));
    std::fs::remove_dir_all(pgveil.audit_dir()).expect("removed");
    let told = "not ready: the audit spool cannot be written\n".to_owned();
    assert_eq!(ask(&[]), (1, told));
    assert_eq!(ask(&["--alive"]), (0, "ok\n".to_owned()));
    drop(pgveil);
    let (code, text) = ask(&["--alive"]);
    assert!(code == 1 && text.contains("does not answer"), "{text}");
}

#[test]
fn manual_and_completions_know_every_command() {
    let folder = Folder::new("manual");
    let written = command().args(["man", "--out"]).arg(folder.path()).output();
    assert!(written.expect("it runs").status.success());
    let page = |name: &str| {
        std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|_| panic!("no {name}"))
    };
    let (_, printed) = said(&command().arg("man").output().expect("it runs"));
    assert_eq!(printed, page("pgveil.1"));
    let scripts: Vec<String> = ["bash", "zsh", "fish"]
        .iter()
        .map(|shell| {
            said(
                &command()
                    .args(["completions", shell])
                    .output()
                    .expect("it runs"),
            )
            .1
        })
        .collect();
    let (_, help) = said(&command().arg("--help").output().expect("it runs"));
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 11, "{help}");
    for name in commands {
        assert!(
            page(&format!("pgveil-{name}.1")).contains("Example"),
            "{name}"
        );
        for script in &scripts {
            assert!(script.contains(name), "{name}");
        }
    }
    assert!(page("pgveil-audit-verify.1").contains("\\-\\-through"));
}
