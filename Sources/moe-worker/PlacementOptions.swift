import ArgumentParser
import ExpertParallelism
import ExpertPlacement
import WorkerRuntime

/// Where the experts are, and who decides.
struct PlacementOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Placement of the experts: \(Allocators.names.joined(separator: ", ")), or exec:ALIAS for a program of the "
                + "coordinator's.", valueName: "name"))
    var allocator = Allocators.defaultName

    @Option(
        help: ArgumentHelp(
            "Choice of replicas: \(TokenDispatchers.names.joined(separator: ", ")) (default: weighted where measured loads "
                + "decide on the placement, otherwise random). Planners expect it to keep the plan's fractions, as weighted does, "
                + "and random on average.", valueName: "name"))
    var dispatcher: String?

    @Option(
        help: ArgumentHelp(
            "Which ranks hold the optimizer state of an expert: those that compute with it (colocated), or all, so that "
                + "a new placement moves none of it (decoupled).", valueName: "name"))
    var optimizerPlacement = OwnershipPolicy.defaultPolicy

    @Option(
        help: ArgumentHelp(
            "Groups of ranks that have a part of the batch's sequences each (default: the ranks divided by --tp).",
            valueName: "n"))
    var dp: Int?

    @Option(
        help: ArgumentHelp(
            "Neighbouring ranks that share a group's sequences: each has some of their tokens, and some heads of attention "
                + "and some neurons of dense layers and shared experts, with their weights (default: the ranks divided by "
                + "--dp, or 1).", valueName: "n"))
    var tp: Int?

    @Option(
        help: ArgumentHelp(
            "What travels while ranks compute: all, none, or some of "
                + "\(Overlap.names.map(\.name).joined(separator: ",")) (rows to and from experts, where ranks are on several "
                + "nodes; gradients to their owners; weights from them).", valueName: "what"))
    var overlap = Overlap.all

    @Option(
        help: ArgumentHelp(
            "The most bytes of weights and optimizer state that all ranks together move before one step, but at least one "
                + "layer (default: about what half a step takes).", valueName: "bytes"))
    var migrationBudget: Int?

    @Option(
        help: ArgumentHelp(
            "The most bytes that experts take on a rank: weights, gradients, optimizer state, rows as forecast, and both "
                + "copies of what moves (default: each control group's and the machine's memory, divided by the ranks in "
                + "it, whichever is least).", valueName: "bytes"))
    var memoryLimit: Int?

    @Option(
        help: ArgumentHelp(
            "Appends a JSON line for each change of placement, for --placement-replay.", valueName: "file"))
    var placementLog: String?

    @Option(
        help: ArgumentHelp(
            "Has the experts where such a log has them, step by step, instead of planning: the same number of ranks then gives the "
                + "same bits.", valueName: "file"))
    var placementReplay: String?

    @Flag(help: .hidden)
    var benchmarkEvenRouting = false

    @Option(
        help: ArgumentHelp(
            "The run's name with the coordinator (default: made from the time and a random number).", valueName: "name")
    )
    var run: String?

    @Option(
        help: ArgumentHelp(
            "The coordinator, which holds the plan: an address, several to be tried in turn (a:7700,b:7700), or file:PATH "
                + "for the one in a file. Without one, the plan is made here.", valueName: "host:port"))
    var coordinator: String?

    @Option(help: ArgumentHelp("The coordinator's key, on every rank's machine.", valueName: "file"))
    var keyFile: String?

    @Option(help: ArgumentHelp("Seconds that the start waits for the coordinator.", valueName: "s"))
    var coordinatorTimeout = 30.0

    @Option(help: ArgumentHelp("Steps between reports to the coordinator.", valueName: "n"))
    var reportInterval = 10

    /// An empty name wins over a configuration file's, and is no file.
    var namedKeyFile: String? { keyFile.flatMap { $0.isEmpty ? nil : $0 } }

    func apply(to options: inout TrainingOptions) {
        options.allocator = allocator
        options.dispatcher = dispatcher
        options.optimizerPlacement = optimizerPlacement
        options.dataParallel = dp
        options.tensorParallel = tp
        options.overlap = overlap
        options.migrationBudgetBytes = migrationBudget
        options.memoryLimitBytes = memoryLimit
        options.placementLog = placementLog
        options.placementReplay = placementReplay
        options.benchmarkEvenRouting = benchmarkEvenRouting
        options.run = run
        options.coordinator = coordinator
        options.keyFile = namedKeyFile
        options.coordinatorTimeoutSeconds = coordinatorTimeout
        options.reportInterval = reportInterval
    }
}

extension OwnershipPolicy: ExpressibleByArgument {}

extension Overlap: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
    public var defaultValueDescription: String { text }
}
