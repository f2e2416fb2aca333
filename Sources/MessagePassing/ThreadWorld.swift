import Glibc

/// What all groups of one `ThreadCommunicator.run` share: one lock, and who has failed or ended.
///
/// One lock for all groups lets a rank that fails wake the others wherever they wait.
final class ThreadWorld: @unchecked Sendable {  // Everything that changes does so under `mutex`.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    /// The first error of a rank.
    private var firstFailure: (rank: Int, error: any Error)?
    private var hasLeft: [Bool]

    init(size: Int) {
        hasLeft = [Bool](repeating: false, count: size)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Runs `body` alone.
    func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    /// Wakes all that wait. Called with the lock held.
    func wakeAll() { pthread_cond_broadcast(condition) }

    /// Called with the lock held, before a call begins.
    /// - Throws: `CommunicatorError` when a rank failed: groups may have lost count of their ranks.
    func checkUsable() throws {
        if let firstFailure {
            throw CommunicatorError.rankFailed(rank: firstFailure.rank, reason: "\(firstFailure.error)")
        }
    }

    /// Waits, with the lock held, until `isDone`.
    /// - Parameter isRead: whether other members may be reading this rank's memory. Then the failure of a rank of another
    ///   group does not end the wait: those members come, or leave.
    /// - Throws: `CommunicatorError` when a rank failed, or one of `members` ended, and so it will never be.
    func wait(for members: [Int], isRead: Bool, call: String, until isDone: () -> Bool) throws {
        while !isDone() {
            let left = members.first { hasLeft[$0] }
            if !isRead || left != nil { try checkUsable() }
            if let rank = left {
                let error = CommunicatorError.rankLeft(rank: rank, call: call)
                firstFailure = (rank, error)  // The group's state is lost: no rank may go on in it.
                wakeAll()
                throw error
            }
            pthread_cond_wait(condition, mutex)
        }
    }

    /// Rank `rank` of the world has returned, with an error or without.
    func leave(rank: Int, error: (any Error)?) {
        locked {
            hasLeft[rank] = true
            if let error, firstFailure == nil { firstFailure = (rank, error) }
            wakeAll()
        }
    }

    /// The error that ended the run.
    var failure: (any Error)? { locked { firstFailure?.error } }
}
