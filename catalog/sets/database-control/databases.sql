-- One account for each service, and the databases that it owns. Every statement may be repeated,
-- and the password is set each time, so that a rotated one comes into force.

CREATE DATABASE IF NOT EXISTS keystone CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE USER IF NOT EXISTS 'keystone'@'%';
ALTER USER 'keystone'@'%' IDENTIFIED BY {{secret keystone_database | sql}};
GRANT ALL PRIVILEGES ON keystone.* TO 'keystone'@'%';

CREATE DATABASE IF NOT EXISTS glance CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE USER IF NOT EXISTS 'glance'@'%';
ALTER USER 'glance'@'%' IDENTIFIED BY {{secret glance_database | sql}};
GRANT ALL PRIVILEGES ON glance.* TO 'glance'@'%';

CREATE DATABASE IF NOT EXISTS placement CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE USER IF NOT EXISTS 'placement'@'%';
ALTER USER 'placement'@'%' IDENTIFIED BY {{secret placement_database | sql}};
GRANT ALL PRIVILEGES ON placement.* TO 'placement'@'%';

CREATE DATABASE IF NOT EXISTS nova_api CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE DATABASE IF NOT EXISTS nova_cell0 CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE DATABASE IF NOT EXISTS nova CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE USER IF NOT EXISTS 'nova'@'%';
ALTER USER 'nova'@'%' IDENTIFIED BY {{secret nova_database | sql}};
GRANT ALL PRIVILEGES ON nova_api.* TO 'nova'@'%';
GRANT ALL PRIVILEGES ON nova_cell0.* TO 'nova'@'%';
GRANT ALL PRIVILEGES ON nova.* TO 'nova'@'%';

CREATE DATABASE IF NOT EXISTS neutron CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci;
CREATE USER IF NOT EXISTS 'neutron'@'%';
ALTER USER 'neutron'@'%' IDENTIFIED BY {{secret neutron_database | sql}};
GRANT ALL PRIVILEGES ON neutron.* TO 'neutron'@'%';
