//! A program on a pseudo-terminal. Not here: what it shows there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use e2e::wait;
use nix::pty::{Winsize, openpty};

pub(super) const ROWS: usize = 30;
pub(super) const COLUMNS: usize = 120;

pub(super) struct Pty {
    child: Child,
    keys: File,
}

impl Pty {
    /// `shown`: what becomes of what it writes.
    pub(super) fn start(command: &mut Command, shown: impl Fn(&[u8]) + Send + 'static) -> Self {
        let size = Winsize {
            ws_row: ROWS as u16,
            ws_col: COLUMNS as u16,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = command
            .env("TERM", "xterm")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let mut output = File::from(pty.master.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown(&bytes[..count]);
            }
        });
        Self {
            child,
            keys: pty.master.into(),
        }
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    #[track_caller]
    pub(super) fn wait_exit(&mut self) -> Option<i32> {
        wait::until("the end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
