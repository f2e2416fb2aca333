import Foundation

/// Memory that a process may use, with others.
package struct MemoryLimit: Equatable, Sendable {
    /// What all processes under it have in common: the number of their control group's directory; 0 is the machine.
    package let group: Int
    package let bytes: Int

    package init(group: Int, bytes: Int) {
        self.group = group
        self.bytes = bytes
    }

    /// Bytes that a rank may use when the ranks under each limit share it equally.
    /// - Parameter groups: those that each rank of the node is under, this one's among them.
    /// - Returns: nil where there are no limits.
    package static func part(of limits: [MemoryLimit], groups: [[Int]]) -> Int? {
        limits.map { limit in limit.bytes / max(1, groups.count { $0.contains(limit.group) }) }.min()
    }

    /// The machine's memory and the limits of this process's control groups, where they are known.
    package static func all(files: String = "/") -> [MemoryLimit] {
        let machine = text(files + "proc/meminfo").flatMap { text in
            text.split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
                .flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) }
                .map { $0 * 1024 }
        }
        // hierarchy:controllers:path (cgroups(7)); version 2 is hierarchy 0 and names no controllers.
        let groups = (text(files + "proc/self/cgroup") ?? "").split(separator: "\n").map {
            $0.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        }
        func limits(_ folder: String, _ name: String, _ isMeant: ([Substring]) -> Bool) -> [MemoryLimit] {
            let group = groups.first { $0.count == 3 && isMeant($0) }?[2].split(separator: "/") ?? []
            // Each group on the way up may have a limit.
            return (0...group.count).compactMap { depth in
                let path = files + "sys/fs/cgroup/" + folder + group.prefix(depth).map { $0 + "/" }.joined()
                return text(path + name).flatMap { Int($0) }.map { MemoryLimit(group: number(path), bytes: $0) }
            }
        }
        return limits("", "memory.max") { $0[0] == "0" && $0[1].isEmpty }
            + limits("memory/", "memory.limit_in_bytes") { $0[1].split(separator: ",").contains("memory") }
            + [machine].compactMap { $0 }.map { MemoryLimit(group: 0, bytes: $0) }
    }

    /// The inode, which is the group's whatever its path is called here: each container may have its own "/".
    private static func number(_ path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(truncatingIfNeeded: status.st_ino) : 0
    }

    private static func text(_ path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
