import ArgumentParser
import WorkerRuntime

/// How ranks find each other, and watch over each other, that were started one by one.
struct RendezvousFlags: ParsableArguments {
    @Option(help: ArgumentHelp("Seconds that a rank waits until all are there.", valueName: "s"))
    var rendezvousTimeout = 300.0

    @Option(
        help: ArgumentHelp(
            "Seconds of silence after which a rank is dead, and the job ends; rank 0's counts.", valueName: "s"))
    var rankTimeout = 10.0

    @Option(
        help: ArgumentHelp(
            "Rank 0's name or address for the others (default: with a key, the address with which it reaches the "
                + "coordinator; without, this machine alone).", valueName: "host"))
    var rankHost: String?

    func apply(to options: inout RendezvousOptions) {
        options.timeoutSeconds = rendezvousTimeout
        options.silenceSeconds = rankTimeout
        options.host = rankHost
    }
}
