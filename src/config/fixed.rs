//! Settings that hold from the start of a process to its end.
use super::console::ConsoleSettings;
use super::settings::Settings;

/// What a process goes by from now on: what was read, but for what cannot change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    pub settings: Settings,
    /// Keys that were changed and have to wait for another process.
    pub waiting: Vec<&'static str>,
}

/// Takes over what can change.
pub fn merge(old: &Settings, new: Settings) -> Merged {
    let mut merged = Merged {
        settings: new,
        waiting: Vec::new(),
    };
    let Merged { settings, waiting } = &mut merged;
    let mut keep = |key, changed: bool| {
        if changed {
            waiting.push(key);
        }
    };
    macro_rules! fixed {
        ($($key:literal: $($field:ident).+;)*) => {
            $(
                keep($key, settings.$($field).+ != old.$($field).+);
                settings.$($field).+ = old.$($field).+.clone();
            )*
        };
    }
    fixed! {
        "listen": listen;
        "policies": policies;
        "state": state;
        "admin": admin;
        "audit.dir": audit.dir;
        "audit.ack": audit.ack;
        "audit.signing_key": audit.signing_key;
        "audit.segment_bytes": audit.segment_bytes;
        "audit.segment_age": audit.segment_age;
        "audit.checkpoint_records": audit.checkpoint_records;
        "audit.checkpoint_interval": audit.checkpoint_interval;
        "audit.recipient": audit.recipient;
        "limits.plan_cache_bytes": limits.plan_cache_bytes;
        "limits.planner_threads": limits.planner_threads;
    }
    let (was, is) = (old.console.as_ref(), settings.console.as_ref());
    keep("console", fixed_of(was) != fixed_of(is));
    // Another certificate is all that can come.
    let tls = settings.console.take().and_then(|console| console.tls);
    settings.console = old.console.clone();
    if let (Some(console), Some(tls)) = (&mut settings.console, tls)
        && console.tls.is_some()
    {
        console.tls = Some(tls);
    }
    merged
}

/// The console but for the files of its certificate.
fn fixed_of(console: Option<&ConsoleSettings>) -> Option<(bool, ConsoleSettings)> {
    let console = console?;
    let rest = ConsoleSettings {
        tls: None,
        ..console.clone()
    };
    Some((console.tls.is_some(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Settings {
        let folder = std::env::temp_dir().join(format!("pgveil-fixed-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("{:016x}.yaml", rand(text)));
        let rest = "upstream: { host: db, catalog_user: { name: pgveil } }\npolicies: .\n";
        std::fs::write(&path, format!("{rest}{text}")).expect("written");
        let settings = super::super::load(&path).expect("right");
        let _ = std::fs::remove_file(&path);
        Settings {
            path: "pgveil.yaml".into(),
            ..settings
        }
    }

    fn rand(text: &str) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(text)
    }

    #[test]
    fn what_cannot_change_stays_and_is_named() {
        let old = read("listen: 127.0.0.1:1\nlimits: { max_sessions: 5 }\n");
        let new = read(
            "listen: 127.0.0.1:2\nstate: other.db\naudit: { ack: synced, on_full: drop }\nconsole: { listen: 127.0.0.1:9 }\n\
             limits: { max_sessions: 7, planner_threads: 9 }\n",
        );
        let merged = merge(&old, new);
        assert_eq!(
            merged.waiting,
            [
                "listen",
                "state",
                "audit.ack",
                "limits.planner_threads",
                "console"
            ]
        );
        let settings = merged.settings;
        assert_eq!(settings.listen, old.listen);
        assert_eq!(settings.console, None);
        assert_eq!(settings.limits.max_sessions, 7);
        assert_eq!(settings.audit.on_full, super::super::OnFull::Drop);
        assert_eq!(settings.audit.ack, old.audit.ack);
    }
}
