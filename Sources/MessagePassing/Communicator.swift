/// A group of ranks that exchange messages. Every method is collective: all ranks of the group call it, in the same
/// order and with matching arguments; it returns on a rank when that rank's part is complete.
///
/// The semantics are those of the MPI 3.1 collectives named in each comment. Counts are in elements, not bytes.
public protocol Communicator: AnyObject {
    /// This process's index in the group, 0 ..< size.
    var rank: Int { get }
    /// Number of ranks in the group.
    var size: Int { get }

    /// Returns when every rank has called it (`MPI_Barrier`).
    func barrier() throws

    /// Copies `values` of rank `root` to all ranks (`MPI_Bcast`). All ranks pass the same count.
    func broadcast<Element: MessageElement>(_ values: inout MutableSpan<Element>, root: Int) throws

    /// Combines the ranks' values entry by entry; every rank ends with the same result (`MPI_Allreduce`, in place).
    func allReduce<Element: MessageElement>(_ values: inout MutableSpan<Element>, _ operation: Reduction) throws

    /// Concatenates the ranks' blocks, in rank order, on every rank (`MPI_Allgatherv`). `values` has `counts.sum`
    /// entries, `block` `counts[rank]`.
    func allGather<Element: MessageElement>(
        _ block: Span<Element>, counts: [Int], into values: inout MutableSpan<Element>
    ) throws

    /// Sends to each rank its block of `values`, and receives one from each (`MPI_Alltoallv`). Blocks lie one after
    /// another in rank order without gaps: `sendCounts[r]` entries go to rank r, `receiveCounts[r]` come from it.
    func allToAll<Element: MessageElement>(
        _ values: Span<Element>, sendCounts: [Int],
        into received: inout MutableSpan<Element>, receiveCounts: [Int]
    ) throws

    /// Sends and receives blocks that lie anywhere, as `allToAll` without packing. From one rank to another they arrive in
    /// the order of the two lists, which have as many entries block by block.
    func exchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>]
    ) throws

    /// Begins an `exchange`, and returns before it is done; several may be under way at once. Until `wait` has returned, what
    /// leaves must not change and what comes cannot be read.
    /// - Parameter memory: what the blocks lie in; it is kept that long.
    func startExchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>], keeping memory: Any
    ) throws -> any PendingExchange

    /// Lets exchanges that are under way go on: for communicators that do so only while they are called. Cheap. Not collective.
    func progress() throws

    /// Makes a group of the ranks that pass the same `color`, ordered by `key`, then by rank (`MPI_Comm_split`).
    func split(color: Int, key: Int) throws -> any Communicator
}

/// An exchange that was begun.
public protocol PendingExchange: AnyObject {
    /// Returns when the exchange is done on this rank. Collective: all ranks wait, at the same place among their calls. Once.
    func wait() throws
}

/// How `allReduce` combines two values.
public enum Reduction: Sendable, CaseIterable {
    case sum, minimum, maximum
}

/// A type whose values travel between ranks as they lie in memory.
public protocol MessageElement: BitwiseCopyable, Sendable, Comparable, AdditiveArithmetic {
    static var messageType: MessageType { get }
}

/// The wire types that a communicator must know.
public enum MessageType: Sendable, CaseIterable {
    case uint8, int32, int64, float, double
}

extension UInt8: MessageElement { public static var messageType: MessageType { .uint8 } }
extension Int32: MessageElement { public static var messageType: MessageType { .int32 } }
extension Int: MessageElement { public static var messageType: MessageType { .int64 } }
extension Float: MessageElement { public static var messageType: MessageType { .float } }
extension Double: MessageElement { public static var messageType: MessageType { .double } }
