import Foundation

/// The memory that the ranks of a node may share.
enum MemoryLimit {
    /// Bytes that this process may use at most: its control group's limit, or else the machine's memory.
    /// - Returns: nil where neither is known.
    static func bytes(files: String = "/") -> Int? {
        let machine = text(files + "proc/meminfo").flatMap { text in
            text.split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
                .flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) }
                .map { $0 * 1024 }
        }
        // Version 2 of control groups (cgroups(7)): each group on the way up may have a limit.
        let group =
            text(files + "proc/self/cgroup")?.split(separator: "\n").first { $0.hasPrefix("0::/") }
            .map { $0.dropFirst(4).split(separator: "/") } ?? []
        let limits = (0...group.count).compactMap { depth in
            let path = group.prefix(depth).map { $0 + "/" }.joined()
            return text(files + "sys/fs/cgroup/" + path + "memory.max").flatMap { Int($0) }
        }
        return (limits + [machine].compactMap { $0 }).min()
    }

    private static func text(_ path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
