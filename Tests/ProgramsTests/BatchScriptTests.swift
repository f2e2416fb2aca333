import ControlTestSupport
import Foundation
import Testing

/// `deploy/slurm/moe.sbatch` with programs in Slurm's place, for what a real one does too rarely.
@Suite struct BatchScriptTests {
    /// The script is asked to stop between the start of its step and the next line.
    @Test func askedToStopWhileItsStepStarts() throws {
        let folder = try TemporaryFolder()
        let programs = [
            "srun": "read -r word <\(folder.path("asked")); exit 75",
            "scancel": "echo \"$*\" >\(folder.path("asked"))",
            "squeue": "echo RUNNING",
            "scontrol": "echo \"scontrol $*\"",
        ]
        #expect(mkfifo(folder.path("asked"), 0o600) == 0)
        for (name, text) in programs {
            try "#!/bin/sh\n\(text)\n".write(toFile: folder.path(name), atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path(name))
        }
        // bash runs this before each of the script's commands.
        try #"trap 'case $BASH_COMMAND in "step=\$!") kill -TERM $$ ;; esac' DEBUG"#.write(
            toFile: folder.path("environment"), atomically: true, encoding: .utf8)
        var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("MOE_") }
        environment["PATH"] = "\(folder.url.path):/usr/bin:/bin"
        environment["BASH_ENV"] = folder.path("environment")
        environment["SLURM_JOB_ID"] = "7"
        environment["SLURM_NTASKS"] = "1"
        environment["SLURM_JOB_NODELIST"] = "node1"
        // Into a file, for what looks after the ranks may end after the script. The limit is for a script that waits for ever.
        let script = Repository.root.appending(path: "deploy/slurm/moe.sbatch").path
        let job = try ShellCommand(
            ["sh", "-c", "timeout -k 1 20 bash \(script) >\(folder.path("log")) 2>&1"], environment: environment)
        let log = try String(contentsOfFile: folder.path("log"), encoding: .utf8)
        #expect(job.status == 75, "\(log)")
        #expect(log.contains("asked to stop") && log.contains("scontrol requeue 7\n"), "\(log)")
    }
}
