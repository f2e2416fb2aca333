import ControlTestSupport
import Foundation
import Testing

/// `deploy/slurm/moe.sbatch` with a real Slurm.
@Suite(
    .serialized,
    .enabled(if: SlurmCluster.obstacle == nil, Comment(rawValue: "no Slurm here: \(SlurmCluster.obstacle ?? "")")))
struct SlurmTests {
    private static let script = Repository.root.appending(path: "deploy/slurm/moe.sbatch").path
    private let inputs: WorkerInputs

    init() throws { inputs = try WorkerInputs() }

    /// Trains without Slurm.
    private func reference(_ changes: [String: String?]) throws -> [Double] {
        let job = try RunningProgram(
            "moe-worker", inputs.arguments(changes.merging(["--metrics": inputs.path("reference.jsonl")]) { $1 }),
            ranks: 2)
        #expect(job.waitForEnd() == 0, "\(job.text)")
        return inputs.losses("reference.jsonl").map(\.loss)
    }

    @Test func trainsOnTwoNodesWithACoordinatorOfItsOwn() throws {
        let cluster = try SlurmCluster(nodes: 2)
        let job = try cluster.submit(
            ["--nodes=2", "--ntasks-per-node=1", "--output=log", Self.script]
                + inputs.arguments(["--metrics": inputs.path("metrics.jsonl")]),
            variables: ["MOE_OWN_COORDINATOR": "1"])
        let state = try cluster.waitForEnd(of: job)
        let log = try cluster.text("log")
        #expect(state == "COMPLETED", "\(log)")
        #expect(log.contains("2 tasks on node[1-2], start 1"), "\(log)")
        #expect(log.contains("placement revision 1 from the coordinator at 127.0.0.1:"), "\(log)")
        #expect(try inputs.losses("metrics.jsonl").map(\.loss) == reference([:]))
        // Coordinators and their databases go with their jobs.
        #expect(try cluster.run(["pgrep", "-f", "moe-\(job).*moe.db"]).output == "")
    }

    /// As at the end of its time, when Slurm tells the script. A coordinator of the job's own begins with an empty database then, and
    /// knows what it must from the checkpoint.
    @Test(arguments: [false, true]) func goesOnWhereItStopped(hasOwnCoordinator: Bool) throws {
        let nodes = hasOwnCoordinator ? 2 : 1
        let cluster = try SlurmCluster(nodes: nodes)
        let changes = ["--steps": "600", "--batch-size": "64", "--metrics": inputs.path("metrics.jsonl")]
        let job = try cluster.submit(
            ["--nodes=\(nodes)", "--ntasks-per-node=\(2 / nodes)", "--output=log", Self.script]
                + inputs.arguments(changes.merging(["--checkpoint-directory": inputs.path("checkpoints")]) { $1 }),
            variables: hasOwnCoordinator ? ["MOE_OWN_COORDINATOR": "1"] : [:])
        try cluster.wait(for: "no steps are done") { inputs.losses("metrics.jsonl").count >= 20 }
        let asked = try cluster.run(["scancel", "--batch", "--signal=TERM", job])
        #expect(asked.status == 0, "\(asked.output)")
        try cluster.wait(for: "the job does not go back into the queue") { try cluster.job(job)["Restarts"] == "1" }
        let before = inputs.losses("metrics.jsonl").count
        #expect(before < 600)

        let state = try cluster.waitForEnd(of: job)
        let log = try cluster.text("log")
        #expect(state == "COMPLETED", "\(log)")
        #expect(log.contains("asked to stop") && log.contains("goes back into the queue"), "\(log)")
        #expect(log.contains("start 1\n") && log.contains("start 2\n"), "\(log)")
        if hasOwnCoordinator {
            for incarnation in 1...2 { #expect(log.contains(", incarnation \(incarnation)\n"), "\(log)") }
        }
        // Every step once, each with the loss that it has in a run without interruption.
        let done = inputs.losses("metrics.jsonl")
        #expect(done.map(\.step) == Array(1...600))
        #expect(try done.map(\.loss) == reference(changes))
    }

    /// The last checkpoint is gone on from, and what comes after it is as if nothing had happened.
    @Test func aRankThatIsKilledIsReplaced() throws {
        let cluster = try SlurmCluster(nodes: 1)
        let changes = ["--steps": "400", "--batch-size": "64", "--metrics": inputs.path("metrics.jsonl")]
        let checkpoints = ["--checkpoint-directory": inputs.path("checkpoints"), "--checkpoint-interval": "30"]
        let job = try cluster.submit(
            ["--nodes=1", "--ntasks-per-node=2", "--output=log", Self.script]
                + inputs.arguments(changes.merging(checkpoints) { $1 }))
        try cluster.wait(for: "no checkpoint is written") { inputs.losses("metrics.jsonl").count >= 40 }
        let killed = try cluster.run(["sh", "-c", "kill -9 $(pgrep -n -x moe-worker)"])
        #expect(killed.status == 0, "\(killed.output)")

        let state = try cluster.waitForEnd(of: job)
        let log = try cluster.text("log")
        #expect(state == "COMPLETED", "\(log)")
        #expect(try cluster.job(job)["Restarts"] == "1")
        #expect(log.contains("a rank was killed (signal 9); goes back into the queue"), "\(log)")
        #expect(log.contains("goes on after step "), "\(log)")
        // Steps since the checkpoint are done twice.
        let done = Dictionary(inputs.losses("metrics.jsonl").map { ($0.step, $0.loss) }) { $1 }
        #expect(try done.sorted { $0.key < $1.key }.map(\.value) == reference(changes))
    }

    @Test func whatTheEndOfTheRanksMeansForTheJob() throws {
        let cluster = try SlurmCluster(nodes: 1)
        // Ranks that end as they are told.
        let program = cluster.folder.appending(path: "bin/moe-worker")
        try FileManager.default.createDirectory(
            at: program.deletingLastPathComponent(), withIntermediateDirectories: true)
        try "#!/bin/bash\n. \"$@\"\n".write(to: program, atomically: true, encoding: .utf8)
        chmod(program.path, 0o755)
        func submit(_ script: String, _ variables: [String: String] = [:]) throws -> String {
            let file = cluster.folder.appending(path: "\(UUID().uuidString).sh")
            try script.write(to: file, atomically: true, encoding: .utf8)
            let path = "\(program.deletingLastPathComponent().path):\(cluster.environment["PATH"] ?? "")"
            return try cluster.submit(
                ["--output=log", Self.script, file.path, "an argument"],
                variables: variables.merging(["PATH": path]) { $1 })
        }

        let failed = try submit("exit 1")
        #expect(try cluster.waitForEnd(of: failed) == "FAILED")
        #expect(try cluster.job(failed)["ExitCode"] == "1:0")

        // Slurm kills the other rank, ten seconds later.
        let alone = try submit("[ $SLURM_PROCID = 1 ] && exit 64; sleep 60")
        #expect(try cluster.waitForEnd(of: alone) == "FAILED")
        #expect(try cluster.job(alone)["ExitCode"] == "64:0")
        #expect(try cluster.job(alone)["Restarts"] == "0")

        let crashed = try submit("ulimit -c 0; kill -ABRT $$")
        #expect(try cluster.waitForEnd(of: crashed) == "FAILED")
        #expect(try cluster.job(crashed)["ExitCode"] == "134:0")
        #expect(try cluster.job(crashed)["Restarts"] == "0")

        let tired = try submit("exit 75", ["MOE_RESTART_LIMIT": "0"])
        #expect(try cluster.waitForEnd(of: tired) == "FAILED")
        #expect(try cluster.job(tired)["ExitCode"] == "75:0")
        #expect(try cluster.text("log").contains("MOE_RESTART_LIMIT"))

        let restarted = try submit("[ \"${SLURM_RESTART_COUNT:-0}\" = 1 ] && [ \"$1\" = 'an argument' ] || exit 75")
        #expect(try cluster.waitForEnd(of: restarted) == "COMPLETED")
        #expect(try cluster.job(restarted)["Restarts"] == "1")

        // One that is cancelled stays so.
        let cancelled = try submit("trap 'exit 75' TERM; touch \"rank$SLURM_PROCID\"; while :; do sleep 0.1; done")
        try cluster.wait(for: "the ranks do not start") {
            ["rank0", "rank1"].allSatisfy {
                FileManager.default.fileExists(atPath: cluster.folder.appending(path: $0).path)
            }
        }
        _ = try cluster.run(["scancel", cancelled])
        #expect(try cluster.waitForEnd(of: cancelled) == "CANCELLED")
        #expect(try cluster.job(cancelled)["Restarts"] == "0")
    }
}
