import CMPI
import Glibc
import MessagePassing

/// The ranks of an MPI job. All calls must come from the thread that called `initialize` (MPI_THREAD_FUNNELED).
///
/// MPI's errors are thrown as `CommunicatorError.library`. MPI does not promise to work after one: let the error end the job
/// with `abort`, so that no rank waits for this one.
public final class MPICommunicator: Communicator {
    public let rank: Int
    public let size: Int
    let handle: MPI_Comm
    private let isWorld: Bool
    /// The largest count passed to MPI, whose counts are C ints; more entries travel in several messages.
    let largestCount: Int

    private init(_ handle: MPI_Comm, isWorld: Bool, largestCount: Int) throws(CommunicatorError) {
        self.handle = handle
        self.isWorld = isWorld
        self.largestCount = largestCount
        try check(MPI_Comm_set_errhandler(handle, cmpi_errors_return()), "MPI_Comm_set_errhandler")
        var rank: Int32 = 0
        var size: Int32 = 0
        try check(MPI_Comm_rank(handle, &rank), "MPI_Comm_rank")
        try check(MPI_Comm_size(handle, &size), "MPI_Comm_size")
        self.rank = Int(rank)
        self.size = Int(size)
    }

    deinit {
        var isFinalized: Int32 = 0
        guard !isWorld, MPI_Finalized(&isFinalized) == cmpi_success(), isFinalized == 0 else { return }
        var handle: MPI_Comm? = handle
        MPI_Comm_free(&handle)
    }

    /// Joins the MPI job. Once in a process, before any other call.
    /// - Returns: the group of all ranks.
    public static func initialize() throws(CommunicatorError) -> MPICommunicator {
        try initialize(largestCount: Int(Int32.max))
    }

    /// - Parameter largestCount: a smaller limit lets tests see what happens beyond it.
    package static func initialize(largestCount: Int) throws(CommunicatorError) -> MPICommunicator {
        var provided: Int32 = 0
        let needed = cmpi_thread_funneled()
        try check(MPI_Init_thread(nil, nil, needed, &provided), "MPI_Init_thread")
        guard provided >= needed else {
            throw .library(
                call: "MPI_Init_thread", code: Int(provided),
                reason: "this MPI does not support MPI_THREAD_FUNNELED; use one built with thread support")
        }
        guard let world = cmpi_comm_world() else {
            throw .library(call: "MPI_COMM_WORLD", code: 0, reason: "there is no world communicator")
        }
        return try MPICommunicator(world, isWorld: true, largestCount: largestCount)
    }

    /// Leaves the job. Collective; no call may follow.
    public func finalize() throws(CommunicatorError) {
        try check(MPI_Finalize(), "MPI_Finalize")
    }

    /// Ends all processes of the job at once, this one with the exit status `code`.
    public func abort(code: Int32) -> Never {
        MPI_Abort(handle, code)
        exit(code)
    }

    /// The node of each rank, numbered in the order of their lowest ranks: ranks that can share memory are on one node.
    /// Collective.
    public func nodes() throws -> [Int] {
        var handle: MPI_Comm?
        try check(
            MPI_Comm_split_type(self.handle, cmpi_comm_type_shared(), Int32(rank), cmpi_info_null(), &handle),
            "MPI_Comm_split_type")
        let node = try adopt(handle, call: "MPI_Comm_split_type")
        var lowest = [rank]
        var span = lowest.mutableSpan
        try node.allReduce(&span, .minimum)
        var numbers = [Int: Int]()
        return try allGather(lowest).map { lowest in
            let number = numbers[lowest] ?? numbers.count
            numbers[lowest] = number
            return number
        }
    }

    public func split(color: Int, key: Int) throws -> any Communicator {
        try checkSplit(color: color, key: key)
        var handle: MPI_Comm?
        try check(MPI_Comm_split(self.handle, Int32(color), Int32(key), &handle), "MPI_Comm_split")
        return try adopt(handle, call: "MPI_Comm_split")
    }

    /// A communicator that MPI made for this rank.
    func adopt(_ handle: MPI_Comm?, call: String) throws(CommunicatorError) -> MPICommunicator {
        guard let handle, handle != cmpi_comm_null() else {
            throw .library(call: call, code: 0, reason: "there is no group for this rank")
        }
        return try MPICommunicator(handle, isWorld: false, largestCount: largestCount)
    }
}
