import ExpertPlacement

/// Every limit of the control plane, in one table. What is over one is refused with an error that names it.
public struct Limits: Sendable, Equatable {
    // Frames and connections
    /// Bytes of a frame's payload. Holds the largest plan that `planRanks` and `experts` allow.
    public var frameBytes = 16 << 20
    /// Bytes of frames that are being received or answered, over all connections of a server. Answers to
    /// requests that only read have half of them at most, so that others come while nobody takes those.
    public var bufferedBytes = 128 << 20
    /// Answers of so many bytes are always given, and not counted: a connection has one at a time.
    public var smallAnswerBytes = 4_096
    /// Answers to requests that only read that are made at a time, apart from those of the API.
    public var reads = 2
    /// Connections that a server keeps open. More than the largest world has ranks; a process may have fewer descriptors.
    public var connections = 20_000
    /// Connections that the kernel holds while they wait to be accepted.
    public var pendingConnections = 1_024
    /// A connection without a request for so long is closed.
    public var idleTime = Duration.seconds(900)
    /// A frame whose first byte has come must be whole after so long; an answer must have been taken after so long. A client of a
    /// server with keys must have shown within it that it has one.
    public var transferTime = Duration.seconds(30)
    /// How long open requests may take when the server stops.
    public var shutdownTime = Duration.seconds(5)
    /// Keys that a server takes for a role: one, and while keys are changed another.
    public var keysPerRole = 2

    /// Refused clients are logged one by one, but for those that come within so long of the last that was: they are counted.
    public var refusalLogInterval = Duration.seconds(10)

    // HTTP
    /// Connections that are kept for questions over HTTP, besides `connections`.
    public var httpConnections = 64
    /// Bytes of a request's line and headers.
    public var httpRequestBytes = 8_192
    /// From a connection's beginning until its answer has been taken; one of the API may take `transferTime`.
    public var httpTime = Duration.seconds(10)
    /// Connections, besides these, over which news are streamed.
    public var httpStreams = 32
    /// Between two looks for news of a stream, and so between two events.
    public var liveInterval = Duration.seconds(1)
    /// A stream without news says after so long that it is still there.
    public var liveSilence = Duration.seconds(15)
    /// Answers of the API that are made at a time.
    public var httpReads = 2
    /// Runs that metrics tell of, those registered last.
    public var meteredRuns = 100
    /// Metrics tell for so long that a run has ended, and how.
    public var endedRunTime = Duration.seconds(3_600)
    /// The database must answer a health check, or a question of metrics, in so long.
    public var healthCheckTime = Duration.seconds(2)

    // Ranks without a launcher
    /// A rank that waits for the others of its world is answered after so long, and asks again. One that then does not ask within as
    /// long again is not there any more.
    public var worldWaitTime = Duration.seconds(5)
    /// Ranks that an answer names of those that are missing.
    public var listedMissingRanks = 32
    /// The ranks of a world that is complete must have found rank 0 after so long; otherwise they wait for each other again.
    public var worldAssemblyTime = Duration.seconds(10)
    /// Connections, besides those of its ranks, that rank 0 keeps while it waits for them.
    public var strangersAtRankZero = 64
    /// Bytes of a message between ranks and rank 0.
    public var rankMessageBytes = 4_096
    /// A rank that says nothing for so long is dead, unless told otherwise.
    public var rankSilence = Duration.seconds(10)
    /// The longest time between two signs of life; a tenth of the silence when that is less.
    public var rankBeat = Duration.seconds(1)

    // Queues
    /// Requests of one client that wait for their answer.
    public var requestsInFlight = 64
    /// Changes that wait to be committed by the coordinator. More than there are connections, each of which waits for its answer
    /// before it asks again: no transition of a plan is ever refused for this.
    public var queuedChanges = 24_576
    /// Reports among them. More are refused, so that what changes plans does not wait behind them.
    public var queuedReports = 2_048
    /// Durable reports of a run that wait while its policy is at work. Of more, the planning leaves out the older half.
    public var planningReports = 4_096
    /// Policies that are at work at a time, each on a thread of its own.
    public var planningThreads = 256
    /// Changes that one transaction takes.
    public var changesPerCommit = 512
    /// Runs whose state the coordinator keeps in memory; others are read from the database when they are named.
    public var residentRuns = 256

    /// Reports of one rank that one frame may have.
    public var reportsPerFrame = 64

    // Text, in bytes of UTF-8
    public var runNameBytes = 128
    public var hostNameBytes = 255
    public var identifierBytes = 64
    public var allocatorNameBytes = 128
    public var reasonBytes = 1_024
    /// An operator's name.
    public var whoBytes = 255
    public var configurationEntries = 128
    public var configurationValueBytes = 1_024
    public var phases = 64
    /// Where a checkpoint is.
    public var pathBytes = 4_096
    /// The name of a backup.
    public var backupNameBytes = 128

    // Models, worlds and plans
    /// The largest integer that every JSON implementation keeps exact (RFC 8259, section 6).
    public var integer = 1 << 53
    public var layers = 1_024
    public var expertsPerLayer = 4_096
    /// Experts of all layers together.
    public var experts = 65_536
    /// W.
    public var worldSize = PlacementPlan.worldSizeLimit
    /// Ranks that stand in the meshes of one plan, each mesh counted.
    public var planRanks = PlacementPlan.rankLimit
    /// D, and F of an expert.
    public var width = ExpertPlacement.widthLimit
    /// D times the widths of all experts.
    public var modelSize = ExpertModel.sizeLimit
    /// Of anything that is measured: 31 years.
    public var seconds = 1e9

    // Runs
    /// A run whose ranks the coordinator has not heard of for so long, since it started itself, may be archived and deleted, though
    /// nobody said that it ended.
    public var silentTime = Duration.seconds(3_600)
    /// Revisions and incarnations that a restored database skips at least: others than it knows of may have been given out since.
    public var restoredGap = 1_000_000

    // Storage and listings
    /// With less room for the database than this the coordinator is not ready.
    public var freeDiskBytes = 64 << 20
    /// Reports kept for each run; the oldest go first. Loads are kept as long as the run.
    public var storedReportsPerRun = 20_000
    /// Rows of a listing.
    public var listedRuns = 1_000
    public var listedWorkers = 20_000
    public var listedEvents = 20
    public var listedPlans = 1_000
    public var listedCheckpoints = 1_000
    public var listedIntervals = 1_000
    public var listedLoads = 1_000
    /// Bytes of loads in a listing, as JSON; those of one interval are always listed.
    public var listedLoadBytes = 8 << 20
    /// Events of a listing of their own.
    public var pagedEvents = 1_000
    /// Checkpoints kept of each run; the oldest records go first.
    public var storedCheckpointsPerRun = 10_000

    public init() {}

    /// What clients and servers use unless told otherwise.
    public static let standard = Limits()
}
