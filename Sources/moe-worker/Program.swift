import ArgumentParser
import Dispatch
import ExpertPlacement
import Files
import Foundation
import MPIMessagePassing
import Settings
import StructuredLogs
import Tensors
import WorkerRuntime

/// The ranks of this job, as a command sees them.
struct World {
    let communicator: MPICommunicator
    /// Node of each rank.
    let nodes: [Int]
    let environment: [String: String]
}

/// Runs a command as one rank of a job. When it fails, one rank says why, or before MPI one of each machine, and all exit with the
/// same code.
enum Program {
    /// - Returns: the exit code.
    static func run() -> Int32 {
        let environment = ProcessInfo.processInfo.environment
        let launch = LaunchEnvironment(environment)
        let command: any RankCommand
        do {
            var parsed = try Settings.parse(Worker.self, environment: environment)
            guard let ranked = parsed as? any RankCommand else {
                // A request for help, which this answers by throwing it.
                try parsed.run()
                throw CleanExit.helpRequest(Worker.self)
            }
            command = ranked
            try command.validate(commandLine: Array(CommandLine.arguments.dropFirst()))
            if command.isDryRun, !launch.isLaunched { return rehearse(command, launch: launch) }
            try launch.validate(rank: command.world.rank, worldSize: command.world.worldSize)
            guard (1...Threads.limit).contains(command.world.threads) else {
                throw WorkerError.usage(
                    "--threads must be at least 1 and at most \(Threads.limit), not \(command.world.threads)")
            }
        } catch {
            return fail(error, launch)
        }
        command.world.log.bootstrap(
            isTerminal: TerminalDetection.isTerminal(STDERR_FILENO, environment: environment))
        // Before BLAS is first used.
        Threads.configure(command.world.threads)
        return run(command, launch: launch, environment: environment)
    }

    /// Without other ranks.
    private static func rehearse(_ command: any RankCommand, launch: LaunchEnvironment) -> Int32 {
        guard launch.expectedRank == 0 else { return 0 }
        do {
            let worldSize = command.world.worldSize ?? launch.slurmTasks ?? 1
            guard (1...PlacementPlan.worldSizeLimit).contains(worldSize) else {
                throw WorkerError.usage(
                    "--world-size must be at least 1 and at most \(PlacementPlan.worldSizeLimit), not \(worldSize)")
            }
            if let rank = command.world.rank {
                guard (0..<worldSize).contains(rank) else {
                    throw WorkerError.usage("--rank \(rank) is not in a world of \(worldSize) ranks")
                }
                if worldSize > 1 { try command.rendezvous(rank: rank, worldSize: worldSize)?.validate() }
            }
            try command.rehearse(worldSize: worldSize)
            return 0
        } catch let failure as JobFailure {
            report("\(failure)")
            return failure.exitCode
        } catch {
            return fail(error, launch)
        }
    }

    private static func run(
        _ command: any RankCommand, launch: LaunchEnvironment, environment: [String: String]
    ) -> Int32 {
        let ranks: Ranks
        do {
            ranks = try gather(command, launch: launch, environment: environment)
        } catch {
            return fail(error, launch)
        }
        let communicator = ranks.communicator
        do {
            try communicator.agree {
                try launch.validate(communicator, rank: command.world.rank, worldSize: command.world.worldSize)
            }
            try command.run(in: World(communicator: communicator, nodes: ranks.nodes(), environment: environment))
            try ranks.finalize(exitCode: 0)
            return 0
        } catch let failure as JobFailure {
            let isFailure = failure.exitCode != WorkerError.Code.stopped.rawValue
            if failure.reason != nil || (ranks.areApart && isFailure) { report("\(failure)") }
            // Returns when all ranks are here, so the message is out before the launcher sees the first exit code.
            try? ranks.finalize(exitCode: failure.exitCode)
            return failure.exitCode
        } catch {
            // The other ranks may be in a collective call, waiting for this one.
            ranks.abort(error, report: report)
        }
    }

    private static func gather(
        _ command: any RankCommand, launch: LaunchEnvironment, environment: [String: String]
    ) throws -> Ranks {
        guard launch.isApart(rank: command.world.rank, worldSize: command.world.worldSize),
            let rank = command.world.rank, let worldSize = command.world.worldSize
        else { return try .launched() }
        guard let options = try command.rendezvous(rank: rank, worldSize: worldSize) else {
            throw WorkerError.usage(
                "this command needs a launcher for \(worldSize) ranks: start it with mpirun -n \(worldSize) moe-worker …"
            )
        }
        return try .joined(options, environment: environment) { reason, code in
            // However deep other threads are in MPI, and when nobody reads what is written, too.
            DispatchQueue.global().asyncAfter(deadline: .now() + 1) { _exit(code.rawValue) }
            report(reason)
            _exit(code.rawValue)
        }
    }

    /// Before MPI has started: one rank of each machine says why, for rank 0 may have nothing to say.
    private static func fail(_ error: any Error, _ launch: LaunchEnvironment) -> Int32 {
        let rank = launch.expectedRank
        let code = exitCode(for: error)
        guard launch.isFirstOfMachine, code != 0 || rank == 0 else { return code }
        let place = rank == 0 ? "" : "rank \(rank) on \(ProcessInfo.processInfo.hostName): "
        if error is WorkerError || error is SettingsError || error is FileError {
            report(place + "\(error)")
        } else {
            let message = Worker.fullMessage(for: error)
            if code == 0 { print(message) } else { write(place + message + "\n") }
        }
        return code
    }

    private static func exitCode(for error: any Error) -> Int32 {
        switch error {
        case let error as WorkerError: error.code.rawValue
        case is SettingsError: WorkerError.Code.usage.rawValue
        case is FileError: WorkerError.Code.failed.rawValue
        default: Worker.exitCode(for: error).rawValue
        }
    }

    /// - Parameter message: one line.
    private static func report(_ message: String) { write("moe-worker: error: \(message)\n") }

    private static func write(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}
