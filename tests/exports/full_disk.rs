//! The disk of the state is full: what cannot be kept is refused, nothing is lost or given back, and room is all it takes.
use crate::approvers::Approvers;
use crate::support::message::Client;
use crate::support::{Config, Disk, Folder, Pgveil, skip};
use crate::{BOTH, CONTACTS, DAY, Taken, Told, login, policy, request_of, server, stopped, told};

const NAME: &str = "on_a_full_disk_what_needs_the_state_waits_and_nothing_is_lost";

/// A lease is a 32nd of the limit of a day.
const LEASE: usize = DAY / 32;

/// Rows of a page from a place on, until something is refused.
fn pages(taken: &mut Taken, client: &mut Client, from: usize, rows: usize) -> Option<Told> {
    let page = |page: usize| {
        let from = from + page * rows;
        format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT {rows}")
    };
    taken.run(client, (0..100).map(page))
}

fn cannot_be_counted(told: &Option<Told>) {
    let told = told.as_ref().expect("a refusal");
    assert_eq!(told.sqlstate, "42501", "{told:?}");
    assert!(told.message.contains("cannot be counted"), "{told:?}");
    assert!(told.hint.contains("ask the operator"), "{told:?}");
}

#[test]
fn on_a_full_disk_what_needs_the_state_waits_and_nothing_is_lost() {
    let folder = Folder::new("state-disk");
    let Some(disk) = Disk::mount(&folder, 4096) else {
        skip(NAME, "this user may not mount a file system");
        return;
    };
    let server = server(&[]);
    let mut config = Config::new(&server);
    config.policy(&policy(BOTH));
    let accounts = [("lea", "lea", "legal"), ("dan", "dan", "dpo")];
    let approvers = Approvers::new(&mut config, &disk.path().join("state.db"), &accounts);
    let mut pgveil = Pgveil::start(&config);
    let available = |pgveil: &Pgveil, yes: u8| {
        let metrics = pgveil.http("/metrics");
        assert!(
            metrics.contains(&format!("pgveil_state_available {yes}\n")),
            "{metrics}"
        );
    };

    // A request that one of two groups has signed, and somebody who has a part of the day's rows.
    let text = "SELECT code FROM contacts WHERE id > 0 ORDER BY id LIMIT 250";
    let (mut asks, mut counted) = (login(&pgveil, "u0"), login(&pgveil, "u5"));
    let id = request_of(&Taken::default().run(&mut asks, [text.to_owned()]));
    let signed = approvers.approve("lea", &id, 1);
    assert_eq!(signed.status, 200, "{signed:?}");
    let mut taken = Taken::default();
    taken.run(
        &mut counted,
        ["SELECT code FROM contacts WHERE id <= 60".to_owned()],
    );
    assert_eq!(taken.count(), 60);
    available(&pgveil, 1);

    disk.fill();
    // What was leased before goes out, and no more.
    cannot_be_counted(&pages(&mut taken, &mut counted, 60, 5));
    assert!(taken.count() <= 60 + LEASE, "{}", taken.count());
    available(&pgveil, 0);
    assert!(pgveil.wait_for_log("disk is full"), "{}", pgveil.log());
    let mut stranger = login(&pgveil, "u6");
    let all = stranger.query("SELECT code FROM contacts");
    cannot_be_counted(&told(&all));
    assert!(all.iter().all(|frame| frame.tag != b'D'), "{all:?}");
    // A session that was refused goes on, and so does all that is not counted.
    assert!(told(&stranger.query("SELECT * FROM plain")).is_none());
    let mut everything = Taken::default();
    let text_of_all = "SELECT code FROM contacts".to_owned();
    assert!(
        everything
            .run(&mut login(&pgveil, "clear"), [text_of_all])
            .is_none()
    );
    assert_eq!(everything.count(), CONTACTS);
    // Requests can be read and not signed, by whatever way.
    let unsigned = approvers.approve("dan", &id, 2);
    assert_eq!(unsigned.status, 503, "{unsigned:?}");
    assert!(
        unsigned.body.contains("state store is unavailable"),
        "{unsigned:?}"
    );
    let by_command = approvers.approve_by_command("dan", &id, 2);
    assert_eq!(by_command.status.code(), Some(1), "{by_command:?}");
    let request = approvers.show("dan", &id);
    assert_eq!(request["state"], "approved", "{request}");
    assert_eq!(request["signatures"].as_array().map(Vec::len), Some(1));
    cannot_be_counted(&told(&asks.query(text)));

    disk.make_room();
    // The same sessions, the same process: everything is as it was before.
    let next = "SELECT code FROM contacts WHERE id BETWEEN 101 AND 105".to_owned();
    assert!(taken.run(&mut counted, [next]).is_none());
    available(&pgveil, 1);
    let signed = approvers.approve("dan", &id, 2);
    assert_eq!(signed.status, 200, "{signed:?}");
    let mut granted = Taken::default();
    let told_of_grant = granted.run(&mut asks, [text.to_owned()]);
    assert!(told_of_grant.is_none(), "{told_of_grant:?}");
    assert_eq!(granted.count(), 250);
    // The rest of the day and no row more: nothing was given back for what could not be written.
    assert!(stopped(&pages(&mut taken, &mut counted, 200, 10)));
    assert!(taken.count() <= DAY, "{}", taken.count());
    assert!(taken.count() > DAY - 2 * LEASE, "{}: lost", taken.count());

    // What is on the disk is what was told.
    pgveil.kill();
    let pgveil = pgveil.restart();
    let request = approvers.show("dan", &id);
    assert_eq!(request["state"], "used", "{request}");
    let mut again = login(&pgveil, "u5");
    pages(&mut taken, &mut again, 1000, 10);
    assert!(taken.count() <= DAY, "{} after a restart", taken.count());
}
