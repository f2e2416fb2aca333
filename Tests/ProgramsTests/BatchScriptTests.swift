import ControlTestSupport
import Foundation
import Testing

/// `deploy/slurm/moe.sbatch` with programs in Slurm's place, for what a real one does too rarely.
@Suite struct BatchScriptTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Runs the script as job 7, and returns its exit code and its log.
    /// - Parameter programs: text of shell scripts by name.
    private func run(
        _ programs: [String: String], variables: [String: String] = [:]
    ) throws -> (status: Int32, log: String) {
        let standard = ["squeue": "echo RUNNING", "scontrol": "echo \"scontrol $*\""]
        for (name, text) in standard.merging(programs, uniquingKeysWith: { $1 }) {
            try "#!/bin/sh\n\(text)\n".write(toFile: folder.path(name), atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path(name))
        }
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("MOE_") }
        environment["PATH"] = "\(folder.url.path):/usr/bin:/bin"
        environment["TMPDIR"] = folder.url.path
        environment["SLURM_JOB_ID"] = "7"
        environment["SLURM_NTASKS"] = "1"
        environment["SLURM_JOB_NODELIST"] = "node1"
        // Into a file, for what looks after the ranks may end after the script. The limit is for a script that waits for ever.
        let script = Repository.root.appending(path: "deploy/slurm/moe.sbatch").path
        let job = try ShellCommand(
            ["sh", "-c", "timeout -k 1 20 bash '\(script)' >\(folder.path("log")) 2>&1"],
            environment: environment.merging(variables) { $1 })
        return (job.status, try String(contentsOfFile: folder.path("log"), encoding: .utf8))
    }

    /// The script is asked to stop between the start of its step and the next line.
    @Test func askedToStopWhileItsStepStarts() throws {
        #expect(mkfifo(folder.path("asked"), 0o600) == 0)
        // bash runs this before each of the script's commands.
        try #"trap 'case $BASH_COMMAND in "step=\$!") kill -TERM $$ ;; esac' DEBUG"#.write(
            toFile: folder.path("environment"), atomically: true, encoding: .utf8)
        let job = try run(
            [
                "srun": "read -r word <\(folder.path("asked")); exit 75",
                "scancel": "echo \"$*\" >\(folder.path("asked"))",
            ], variables: ["BASH_ENV": folder.path("environment")])
        #expect(job.status == 75, "\(job.log)")
        #expect(job.log.contains("asked to stop") && job.log.contains("scontrol requeue 7\n"), "\(job.log)")
    }

    /// srun's own code is the highest of all ranks', and Slurm kills those that wait for the first to end.
    @Test(
        arguments: [
            ("task 1: Exited with exit code 64", 137, 64, nil), ("tasks 1,3-5: Exited with exit code 1", 137, 1, nil),
            ("task 0: Exited with exit code 75", 137, 75, "stopped after a checkpoint"),
            ("task 1: Aborted (core dumped)", 137, 134, nil), ("task 1: Illegal instruction", 137, 132, nil),
            ("task 1: Trace/breakpoint trap", 137, 133, nil), ("task 1: Segmentation fault", 137, 139, nil),
            ("task 1: Killed", 137, 137, "a rank was killed (signal 9)"),
            // What the others come to is not the reason.
            ("task 1: Killed", 139, 137, "a rank was killed (signal 9)"),
            ("task 1: Out Of Memory", 253, 137, "a rank was killed (signal 9)"),
            ("task 1: Bus error", 137, 135, "a rank was killed (signal 7)"),
            ("task 1: Terminated", 143, 143, "a rank was killed (signal 15)"),
            // Slurm said nothing.
            (nil, 137, 137, "a rank was killed (signal 9)"), (nil, 134, 134, nil), (nil, 1, 1, nil),
        ] as [(String?, Int32, Int32, String?)])
    func whatEndedFirstDecides(first: String?, code: Int32, status: Int32, words: String?) throws {
        let said = first.map { "srun: error: node2: \($0)" }
        let lines = ["moe-worker: error: something", said, "srun: error: node1: task 0: Killed"].compactMap { $0 }
        let shown = said == nil ? Array(lines.dropLast()) : lines
        let job = try run(["srun": shown.map { "echo '\($0)' >&2\n" }.joined() + "exit \(code)"])
        #expect(job.status == status, "\(job.log)")
        #expect(job.log.contains("scontrol requeue 7\n") == (words != nil), "\(job.log)")
        if let words { #expect(job.log.contains("\(words); goes back into the queue"), "\(job.log)") }
        // The log has what was said.
        for line in shown { #expect(job.log.contains(line + "\n"), "\(job.log)") }
        // Nothing stays on the node.
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
        #expect(!names.contains { $0.hasPrefix("moe-7.") }, "\(names)")
    }

    /// Slurm takes an array's number, which one of its jobs has as well, for all of them.
    @Test func aJobOfAnArrayIsThatJobAlone() throws {
        let job = try run(
            ["srun": "exit 75", "squeue": "[ \"$2\" = --jobs=7_3 ] && echo RUNNING || printf 'RUNNING\\nPENDING\\n'"],
            variables: ["SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"])
        #expect(job.status == 75 && job.log.contains("scontrol requeue 7_3\n"), "\(job.log)")
    }
}
