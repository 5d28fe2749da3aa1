-- One database and one account for each service. Every statement may be repeated, and the
-- password is set each time, so that a rotated one comes into force.

CREATE DATABASE IF NOT EXISTS keystone CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE USER IF NOT EXISTS 'keystone'@'%';
ALTER USER 'keystone'@'%' IDENTIFIED BY {{secret keystone_database | sql}};
GRANT ALL PRIVILEGES ON keystone.* TO 'keystone'@'%';
