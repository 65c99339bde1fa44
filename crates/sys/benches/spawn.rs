//! What starting a program costs, from a small and from a large process, beside the standard library's ways.
//! `cargo bench -p trine-sys`

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use trine_sys::process;
use trine_sys::spawn::Spawn;

const ROUNDS: u32 = 300;

fn main() {
    // `cargo test --all-targets` runs this too, and has no use for figures.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    measure("small process");
    let ballast = vec![1u8; 256 << 20];
    measure("with 256 MiB in use");
    drop(ballast);
}

fn measure(process: &str) {
    println!("{process}: /bin/true in a group of its own, started and reaped");
    let ways: [(&str, &dyn Fn()); 3] = [
        ("trine_sys::spawn", &ours),
        ("Command, posix_spawn", &|| standard(false)),
        ("Command, pre_exec (fork)", &|| standard(true)),
    ];
    let mut figures = [const { (Vec::new(), Vec::new()) }; 3];
    for _ in 0..ROUNDS {
        for ((_, start), (wall, cpu)) in ways.iter().zip(&mut figures) {
            let (begin, used) = (Instant::now(), own_cpu());
            start();
            wall.push(begin.elapsed());
            cpu.push(own_cpu() - used);
        }
    }
    for ((name, _), (wall, cpu)) in ways.iter().zip(figures) {
        println!(
            "  {name:<26} {:>6} µs wall {:>6} µs own CPU",
            median(wall),
            median(cpu)
        );
    }
}

fn median(mut figures: Vec<Duration>) -> u128 {
    figures.sort_unstable();
    figures[figures.len() / 2].as_micros()
}

/// What this process used, in user and kernel mode.
fn own_cpu() -> Duration {
    use nix::sys::time::TimeValLike;
    let micros = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .map_or(0, |used| {
            (used.user_time() + used.system_time()).num_microseconds()
        });
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn ours() {
    let mut spawn = Spawn::new(CString::from(c"/bin/true"));
    spawn.process_group = Some(0);
    let ended = spawn.spawn().map(|child| process::wait_pidfd(&child.pidfd));
    assert!(matches!(ended, Ok(Ok((_, status))) if status.success()));
}

#[expect(unsafe_code, reason = "pre_exec is what is measured")]
fn standard(fork: bool) {
    let mut command = Command::new("/bin/true");
    command.process_group(0);
    if fork {
        // SAFETY: the closure does nothing.
        unsafe { command.pre_exec(|| Ok(())) };
    }
    assert!(command.status().is_ok_and(|status| status.success()));
}
