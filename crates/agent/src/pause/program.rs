//! The pause program: a static ELF executable, assembled from instruction words.
//!
//! It blocks SIGINT, SIGTERM and SIGCHLD and waits for them: on the first two it exits with 0, on the third it
//! reaps every child that is dead. Blocked signals are kept even for process 1, whose unhandled signals are
//! otherwise dropped, so no handler and no restorer is needed. It uses four system calls and no memory of its own.
//!
//! Encodings: Intel SDM volume 2 and Arm ARM (A64 base instructions); the ELF header as in the gABI.

/// Machines that we can write the program for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    X86_64,
    Aarch64,
}

impl Architecture {
    /// This machine's; `None` where no program is known.
    pub fn here() -> Option<Architecture> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Architecture::X86_64),
            "aarch64" => Some(Architecture::Aarch64),
            _ => None,
        }
    }

    /// The name in an image's configuration and in the label `kubernetes.io/arch`.
    pub fn image_name(self) -> &'static str {
        match self {
            Architecture::X86_64 => "amd64",
            Architecture::Aarch64 => "arm64",
        }
    }
}

const SIGINT: u32 = 2;
const SIGTERM: u32 = 15;
/// SIGINT, SIGTERM and SIGCHLD (17): bit n-1 stands for signal n.
const SIGNALS: u32 = 1 << 1 | 1 << 14 | 1 << 16;
/// Bytes in the kernel's signal set.
const SIGNAL_SET_BYTES: u32 = 8;
/// Where the segment is loaded: the usual place of a static executable.
const BASE: u64 = 0x40_0000;
const ELF_HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;

/// The executable file.
pub fn program(architecture: Architecture) -> Vec<u8> {
    let (machine, code) = match architecture {
        Architecture::X86_64 => (62_u16, x86_64()),
        Architecture::Aarch64 => (183_u16, aarch64()),
    };
    let headers = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES;
    let size = (headers + code.len()) as u64;
    let mut file = Vec::with_capacity(headers + code.len());
    file.extend(*b"\x7fELF");
    file.extend([2, 1, 1, 0]); // 64 bit, little-endian, version 1, System V
    file.extend([0; 8]);
    file.extend(2_u16.to_le_bytes()); // ET_EXEC
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend((BASE + headers as u64).to_le_bytes()); // entry
    file.extend((ELF_HEADER_BYTES as u64).to_le_bytes()); // program headers follow
    file.extend(0_u64.to_le_bytes()); // no sections
    file.extend(0_u32.to_le_bytes());
    for field in [ELF_HEADER_BYTES as u16, PROGRAM_HEADER_BYTES as u16, 1, 64, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    file.extend(1_u32.to_le_bytes()); // PT_LOAD
    file.extend(5_u32.to_le_bytes()); // read, execute
    for field in [0, BASE, BASE, size, size, 0x1_0000] {
        file.extend(field.to_le_bytes());
    }
    file.extend(code);
    file
}

fn x86_64() -> Vec<u8> {
    let mut code = Vec::new();
    code.push(0x68); // push SIGNALS
    code.extend(SIGNALS.to_le_bytes());
    code.extend([0xb8, 14, 0, 0, 0]); //           mov eax, rt_sigprocmask
    code.extend([0x31, 0xff]); //                  xor edi, edi            SIG_BLOCK
    code.extend([0x48, 0x89, 0xe6]); //            mov rsi, rsp
    code.extend([0x31, 0xd2]); //                  xor edx, edx
    code.extend([0x41, 0xba, SIGNAL_SET_BYTES as u8, 0, 0, 0]); // mov r10d, 8
    code.extend([0x0f, 0x05]); //                  syscall
    let wait = code.len();
    code.extend([0xb8, 128, 0, 0, 0]); //          mov eax, rt_sigtimedwait
    code.extend([0x48, 0x89, 0xe7]); //            mov rdi, rsp
    code.extend([0x31, 0xf6]); //                  xor esi, esi
    code.extend([0x31, 0xd2]); //                  xor edx, edx
    code.extend([0x41, 0xba, SIGNAL_SET_BYTES as u8, 0, 0, 0]);
    code.extend([0x0f, 0x05]);
    code.extend([0x83, 0xf8, SIGTERM as u8]); //   cmp eax, SIGTERM
    let on_term = short_jump(&mut code, 0x74); //  je exit
    code.extend([0x83, 0xf8, SIGINT as u8]); //    cmp eax, SIGINT
    let on_int = short_jump(&mut code, 0x74); //   je exit
    let reap = code.len();
    code.extend([0xb8, 61, 0, 0, 0]); //           mov eax, wait4
    code.extend([0x48, 0xc7, 0xc7, 0xff, 0xff, 0xff, 0xff]); // mov rdi, -1
    code.extend([0x31, 0xf6]); //                  xor esi, esi
    code.extend([0xba, 1, 0, 0, 0]); //            mov edx, WNOHANG
    code.extend([0x45, 0x31, 0xd2]); //            xor r10d, r10d
    code.extend([0x0f, 0x05]);
    code.extend([0x85, 0xc0]); //                  test eax, eax
    let more = short_jump(&mut code, 0x7f); //     jg reap
    land(&mut code, more, reap);
    let again = short_jump(&mut code, 0xeb); //    jmp wait
    land(&mut code, again, wait);
    let exit = code.len();
    land(&mut code, on_term, exit);
    land(&mut code, on_int, exit);
    code.extend([0xb8, 231, 0, 0, 0]); //          mov eax, exit_group
    code.extend([0x31, 0xff]); //                  xor edi, edi
    code.extend([0x0f, 0x05]);
    code
}

/// Writes a jump with an 8-bit distance that is filled in by [`land`]; returns where the distance stands.
fn short_jump(code: &mut Vec<u8>, opcode: u8) -> usize {
    code.extend([opcode, 0]);
    code.len() - 1
}

fn land(code: &mut [u8], at: usize, target: usize) {
    let distance = target as i64 - (at as i64 + 1);
    code[at] = i8::try_from(distance).expect("the program is shorter than a short jump") as u8;
}

fn aarch64() -> Vec<u8> {
    const SVC: u32 = 0xd400_0001;
    let movz = |register: u32, value: u32| 0xd280_0000 | value << 5 | register;
    let copy_sp = |register: u32| 0x9100_03e0 | register;
    let compare = |value: u32| 0x7100_001f | value << 10; // cmp w0, value
    let jump_if =
        |condition: u32, distance: i32| 0x5400_0000 | ((distance as u32) & 0x7_ffff) << 5 | condition;
    let (equal, greater) = (0x0, 0xc);

    let mut words: Vec<u32> = vec![
        movz(9, SIGNALS & 0xffff),
        0xf2a0_0000 | (SIGNALS >> 16) << 5 | 9, // movk x9, high half, lsl 16
        0xf81f_0fe9,                            // str x9, [sp, -16]!
        movz(0, 0),                             // SIG_BLOCK
        copy_sp(1),
        movz(2, 0),
        movz(3, SIGNAL_SET_BYTES),
        movz(8, 135), // rt_sigprocmask
        SVC,
    ];
    let wait = words.len() as i32;
    words.extend([copy_sp(0), movz(1, 0), movz(2, 0), movz(3, SIGNAL_SET_BYTES), movz(8, 137), SVC]);
    words.extend([compare(SIGTERM), jump_if(equal, 12), compare(SIGINT), jump_if(equal, 10)]);
    let reap = words.len() as i32;
    words.extend([0x9280_0000, movz(1, 0), movz(2, 1), movz(3, 0), movz(8, 260), SVC]); // wait4(-1, 0, WNOHANG, 0)
    words.push(compare(0));
    words.push(jump_if(greater, reap - words.len() as i32));
    words.push(0x1400_0000 | ((wait - words.len() as i32) as u32) & 0x3ff_ffff); // b wait
    words.extend([movz(0, 0), movz(8, 94), SVC]); // exit_group(0)
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_are_one_small_executable_segment() {
        for (architecture, machine) in [(Architecture::X86_64, 62), (Architecture::Aarch64, 183)] {
            let file = program(architecture);
            assert_eq!(&file[..4], b"\x7fELF");
            assert_eq!(u16::from_le_bytes([file[18], file[19]]), machine);
            let size = u64::from_le_bytes(file[96..104].try_into().unwrap());
            assert_eq!(size, file.len() as u64);
            assert!(file.len() < 512);
        }
    }

    #[test]
    fn arm_branches_land_on_the_exit_and_the_loops() {
        let file = program(Architecture::Aarch64);
        let words: Vec<u32> =
            file[120..].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        let target = |at: usize| {
            let raw = words[at] >> 5 & 0x7_ffff;
            at as i32 + ((raw << 13) as i32 >> 13)
        };
        let exit = words.len() as i32 - 3;
        assert_eq!((target(16), target(18)), (exit, exit));
        assert_eq!(target(26), 19);
        let back = (words[27] & 0x3ff_ffff) << 6;
        assert_eq!(27 + (back as i32 >> 6), 9);
    }

    /// Runs the program that this machine can run: it must end by itself when told to.
    #[test]
    fn program_exits_with_zero_on_sigterm_and_sigint() {
        use std::os::unix::fs::PermissionsExt;
        let Some(architecture) = Architecture::here() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pause");
        std::fs::write(&path, program(architecture)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
            let mut child = Reaped(std::process::Command::new(&path).spawn().unwrap());
            let pid = rustix::process::Pid::from_child(&child.0);
            // The signal may arrive before the program has blocked it; then it dies by it, which says nothing.
            wait_until_asleep(child.0.id());
            rustix::process::kill_process(pid, signal).unwrap();
            assert_eq!(child.0.wait().unwrap().code(), Some(0));
        }
    }

    /// Leaves nothing behind when an assertion fails.
    struct Reaped(std::process::Child);

    impl Drop for Reaped {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// It sleeps nowhere but in its wait for signals.
    fn wait_until_asleep(pid: u32) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            if status.starts_with("Name:\tpause\n") && status.contains("State:\tS") {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "never waits: {status}");
            std::thread::yield_now();
        }
    }
}
