//! Names for processes that tell others on the same machine whether one of them still runs.
//!
//! Linux only; elsewhere there is no name and nobody counts as dead before its time.

use std::fs;
use std::path::Path;

/// This process' name: the machine's boot, the space in which its number is one, the number, and its start in clock
/// ticks since the boot. Empty where `/proc` does not tell.
pub fn name() -> String {
    of(Path::new("/proc"), "self").unwrap_or_default()
}

/// Whether the process of that name ran on this machine, where we can see it, and no longer does. False on any
/// doubt.
pub fn is_gone(name: &str) -> bool {
    is_gone_in(Path::new("/proc"), name)
}

fn of(proc: &Path, process: &str) -> Option<String> {
    let boot = fs::read_to_string(proc.join("sys/kernel/random/boot_id")).ok()?;
    // Another container has other numbers for its processes, maybe in the same boot.
    let space = fs::read_link(proc.join(process).join("ns/pid")).ok()?;
    let stat = fs::read_to_string(proc.join(process).join("stat")).ok()?;
    let number = stat.split(' ').next()?;
    // The command's name may hold blanks and parentheses; the start is the 20th field after it (proc(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // One that ended and whose parent has not asked how keeps its number and its start.
    let start = if matches!(state, "Z" | "X") { "ended" } else { fields.nth(18)? };
    Some(format!("{} {} {number} {start}", boot.trim(), space.display()))
}

fn is_gone_in(proc: &Path, name: &str) -> bool {
    let mut words = name.split(' ');
    let (Some(boot), Some(space), Some(number)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let Some(own) = of(proc, "self") else { return false };
    let mut own = own.split(' ');
    if (own.next(), own.next()) != (Some(boot), Some(space)) || number.parse::<u32>().is_err() {
        return false;
    }
    // A number is used again; a process that hides its details is not gone.
    !proc.join(number).exists() || of(proc, number).is_some_and(|there| there != name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_that_ended_is_gone() {
        let own = name();
        assert_eq!(own.split(' ').count(), 4, "{own}");
        assert!(!is_gone(&own));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("starts");
        let child_name = of(Path::new("/proc"), &child.id().to_string()).expect("runs");
        assert!(!is_gone(&child_name));
        child.kill().expect("killed");
        while !is_gone(&child_name) {
            std::thread::yield_now();
        }
        child.wait().expect("ends");
        assert!(is_gone(&child_name));

        let words: Vec<&str> = own.split(' ').collect();
        assert!(is_gone(&format!("{} {} {} 1", words[0], words[1], words[2])), "the number is used again");
        assert!(!is_gone(&format!("another-boot {} 4194305 1", words[1])));
        assert!(!is_gone(&format!("{} pid:[1] 4194305 1", words[0])));
        for nonsense in ["", "x", "1763942400000", &format!("{} {} ../1 1", words[0], words[1])] {
            assert!(!is_gone(nonsense), "{nonsense}");
        }
    }
}
