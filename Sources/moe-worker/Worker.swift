import ArgumentParser
import BuildInformation
import StructuredLogs
import WorkerRuntime

/// The command `moe-worker`.
struct Worker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "moe-worker",
        abstract: "Trains Mixture-of-Experts transformers with their experts spread over MPI ranks.",
        discussion: """
            Start it with mpirun -n W moe-worker …, or srun --mpi=pmix -n W moe-worker …; alone it is a world of one rank. \
            Ranks that no launcher starts (systemd) find each other with --rank, --world-size and --coordinator: see \
            docs/deployment.md. \
            Every option can also be set as MOE_… in the environment, or in the YAML file that --config names.
            """,
        version: BuildInformation.version,
        subcommands: [Train.self, Generate.self], defaultSubcommand: Train.self)
}

/// A command that all ranks of a world run together.
protocol RankCommand: ParsableCommand {
    var world: WorldOptions { get }
    /// How ranks find each other that no launcher started; nil: they do not.
    func rendezvous(rank: Int, worldSize: Int) throws -> RendezvousOptions?
    /// Whether the command only tells what it would do, for which one process can speak for all ranks.
    var isDryRun: Bool { get }
    /// Refuses what is said on the command line and would do nothing.
    func validate(commandLine: [String]) throws
    /// Tells what a world of so many ranks would do, without it.
    func rehearse(worldSize: Int) throws
    /// Collective.
    func run(in world: World) throws
}

extension RankCommand {
    var isDryRun: Bool { false }
    func validate(commandLine: [String]) throws {}
    func rehearse(worldSize: Int) throws {}
    func rendezvous(rank: Int, worldSize: Int) throws -> RendezvousOptions? { nil }
}

/// Options about the ranks.
struct WorldOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "This process's rank. Comes from the launcher if there is one, and must agree with it.", valueName: "n"))
    var rank: Int?

    @Option(
        help: ArgumentHelp(
            "Ranks in the world. Comes from the launcher if there is one, and must agree with it.", valueName: "w"))
    var worldSize: Int?

    @Option(help: ArgumentHelp("Threads a rank, for row kernels and BLAS alike.", valueName: "n"))
    var threads = 1

    @Option(help: ArgumentHelp("A YAML file that sets options by their names.", valueName: "file"))
    var config: String?

    @OptionGroup
    var log: LogOptions
}
